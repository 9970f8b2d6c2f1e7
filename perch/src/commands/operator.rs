//! Options of the commands by which an operator acts: the actor, the reason, the guard's folder with the audit log, and
//! the runtime layers.

use std::path::PathBuf;

use anyhow::Context;
use clients::checkout;
use contract::token::{OPERATOR_FILE, Token};
use guard_runtime::audit_log::{Actor, AuditLog};
use guard_runtime::manual_override::ManualOverride;
use guard_runtime::sink;

use super::gateways::Gateways;

/// The folder in which `make up` keeps its state, from the repository's root; in it are the disk layer and the guard's
/// folder.
const STATE: &str = ".perch";
const RUNTIME_LINK: &str = "run/runtime/current";
const FOLDER: &str = "guard";

/// The state of `make up`, in the working directory or in this program's checkout. `None` for gateways of another
/// deployment, so that its share is not written to this machine's disk layer, nor its changes to this machine's audit
/// log.
pub(crate) fn state(gateways: &Gateways) -> Option<PathBuf> {
    gateways.are_local().then(local_state).flatten()
}

fn local_state() -> Option<PathBuf> {
    let here = PathBuf::from(STATE);
    if here.is_dir() { Some(here) } else { Some(checkout()?.join(STATE)).filter(|state| state.is_dir()) }
}

/// The guard's folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Folder {
    /// The guard's folder, which holds the audit log [default: .perch/guard of the checkout if every gateway is the
    /// local one; otherwise none, and a change of the share is in no audit log]
    #[arg(long, value_name = "DIR", env = "PERCH_GUARD_FOLDER")]
    folder: Option<PathBuf>,
}

impl Folder {
    /// The folder of those gateways' guard, if it is named or the local one.
    pub(crate) fn path(&self, gateways: &Gateways) -> Option<PathBuf> {
        self.folder.clone().or_else(|| Some(state(gateways)?.join(FOLDER)))
    }

    /// The folder.
    ///
    /// # Errors
    /// When none is named and this machine has no local one.
    pub(crate) fn required(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder.clone().or_else(|| Some(local_state()?.join(FOLDER)));
        folder.context("the guard's folder is not known: name it with --folder DIR, or run `perch` in its checkout")
    }
}

/// The token that a command sends with a request that changes something.
#[derive(Debug, clap::Args)]
pub(crate) struct TokenFile {
    /// File with the operator's token, readable by its owner only [default: that of `make up`, if there is one]
    #[arg(long, value_name = "FILE", env = "PERCH_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl TokenFile {
    /// The token; `None` if no file is named and `make up` wrote none. The called program then rejects the request.
    pub(crate) fn token(&self) -> anyhow::Result<Option<Token>> {
        let usual = || Some(local_state()?.join(OPERATOR_FILE)).filter(|file| file.is_file());
        let file = self.token_file.clone().or_else(usual);
        Ok(file.as_deref().map(Token::from_file).transpose()?)
    }
}

/// The actor and the reason of an action.
#[derive(Debug, clap::Args)]
pub(crate) struct Attribution {
    /// Reason, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Your name, for the audit log [default: your login]
    #[arg(long = "as", value_name = "NAME", env = "PERCH_OPERATOR")]
    name: Option<String>,
}

impl Attribution {
    pub(crate) fn by(&self) -> Actor {
        let login = || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        let name = self.name.clone().or_else(login).filter(|name| !name.is_empty());
        Actor::Operator(name.unwrap_or_else(|| format!("user {}", uid())))
    }
}

/// The numeric user id, for a login without a name (a container).
fn uid() -> String {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |of| of.uid().to_string())
}

/// The symlinks of the gateways' disk layers.
#[derive(Debug, clap::Args)]
pub(crate) struct RuntimeLinks {
    /// Symlink of a gateway's disk layer, so that the share survives a restart of Envoy; repeat it for each gateway,
    /// in any order, since each gets the same share [default: that of `make up` if every gateway is the local one]
    #[arg(long = "runtime", value_name = "LINK", env = "PERCH_RUNTIME_LINK", value_delimiter = ',')]
    links: Vec<PathBuf>,
}

impl RuntimeLinks {
    /// The symlinks of those gateways' layers.
    pub(crate) fn links(&self, gateways: &Gateways) -> Vec<PathBuf> {
        if !self.links.is_empty() {
            return self.links.clone();
        }
        let usual = state(gateways).map(|state| state.join(RUNTIME_LINK));
        usual.filter(|link| link.is_symlink()).into_iter().collect()
    }
}

/// Options of every command that sets a share manually.
#[derive(Debug, clap::Args)]
pub(crate) struct ShareOptions {
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    runtime: RuntimeLinks,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    pub(crate) attribution: Attribution,
}

impl ShareOptions {
    /// The URLs of the gateways.
    pub(crate) fn urls(&self) -> anyhow::Result<Vec<String>> {
        self.gateways.urls()
    }

    pub(crate) fn manual_override(&self) -> anyhow::Result<ManualOverride> {
        let gateways = sink::Gateways::new(&self.urls()?, self.runtime.links(&self.gateways))?;
        let audit_log = self.folder.path(&self.gateways).map(|folder| AuditLog::in_folder(&folder)).transpose()?;
        Ok(ManualOverride::new(gateways, audit_log, self.attribution.by()))
    }

    /// Limits of the change that the operator should know.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.runtime.links(&self.gateways).is_empty() {
            warnings.push("the change is lost when Envoy restarts: no disk layer was named (--runtime LINK)");
        }
        if self.folder.path(&self.gateways).is_none() {
            warnings.push("the change is in no audit log: no folder of a guard was named (--folder DIR)");
        }
        warnings
    }
}
