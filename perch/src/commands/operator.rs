//! What every command of an operator who moves the share, or speaks to the guard, has in common: who it is, why, and
//! where the audit log is.

use std::path::PathBuf;

use anyhow::Context;
use contract::token::{OPERATOR_FILE, Token};
use perch::guard::hand::Hand;
use perch::guard::ledger::{By, Ledger};
use perch::guard::sink;
use stack::checkout::find_root;

use super::gateways::Gateways;

/// Where `make up` keeps everything, from the repository's root; and in there the disk layer and the guard's folder.
const STATE: &str = ".perch";
const RUNTIME_LINK: &str = "run/runtime/current";
const FOLDER: &str = "guard";

/// What `make up` keeps: here, or where this program's checkout is. `None` for gateways of another deployment: its share
/// must not go into this machine's disk layer, nor what is done there into this machine's audit log.
pub(crate) fn state(gateways: &Gateways) -> Option<PathBuf> {
    gateways.are_this_machines().then(state_of_this_machine).flatten()
}

fn state_of_this_machine() -> Option<PathBuf> {
    let here = PathBuf::from(STATE);
    if here.is_dir() { Some(here) } else { Some(find_root()?.join(STATE)).filter(|state| state.is_dir()) }
}

/// The guard's folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Folder {
    /// The guard's folder, which holds the audit log [default: .perch/guard of the checkout, for this machine's gateway]
    #[arg(long, value_name = "DIR", env = "PERCH_GUARD_FOLDER")]
    folder: Option<PathBuf>,
}

impl Folder {
    /// The folder of the guard of those gateways, where one is named or usual.
    pub(crate) fn path(&self, gateways: &Gateways) -> Option<PathBuf> {
        self.folder.clone().or_else(|| Some(state(gateways)?.join(FOLDER)))
    }

    /// The folder, or what to do.
    pub(crate) fn required(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder.clone().or_else(|| Some(state_of_this_machine()?.join(FOLDER)));
        folder
            .context("which guard? name its folder with --folder DIR, or run the `perch` of the checkout where it runs")
    }
}

/// What a command shows to a program that it makes change something.
#[derive(Debug, clap::Args)]
pub(crate) struct Shown {
    /// The file with the operator's token, which only its owner may read [default: that of `make up`, where there is one]
    #[arg(long, value_name = "FILE", env = "PERCH_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Shown {
    /// The token; `None` where no file is named and `make up` left none, which is for the other program to refuse.
    pub(crate) fn token(&self) -> anyhow::Result<Option<Token>> {
        let usual = || Some(state_of_this_machine()?.join(OPERATOR_FILE)).filter(|file| file.is_file());
        let file = self.token_file.clone().or_else(usual);
        Ok(file.as_deref().map(Token::from_file).transpose()?)
    }
}

/// Who speaks, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Voice {
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Who you are, for the audit log [default: your login]
    #[arg(long = "as", value_name = "NAME", env = "PERCH_OPERATOR")]
    name: Option<String>,
}

impl Voice {
    pub(crate) fn by(&self) -> By {
        let login = || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        let name = self.name.clone().or_else(login).filter(|name| !name.is_empty());
        By::Human(name.unwrap_or_else(|| format!("user {}", uid())))
    }
}

/// The number of the user, for a login without a name (a container).
fn uid() -> String {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |of| of.uid().to_string())
}

/// The links of the disk layers.
#[derive(Debug, clap::Args)]
pub(crate) struct Layers {
    /// The link of a runtime's disk layer, so that the share survives a restart of Envoy; once for each
    /// [default: that of `make up`, for this machine's gateway]
    #[arg(long = "runtime", value_name = "LINK", env = "PERCH_RUNTIME_LINK", value_delimiter = ',')]
    links: Vec<PathBuf>,
}

impl Layers {
    /// The links of those gateways' layers.
    pub(crate) fn links(&self, gateways: &Gateways) -> Vec<PathBuf> {
        if !self.links.is_empty() {
            return self.links.clone();
        }
        let usual = state(gateways).map(|state| state.join(RUNTIME_LINK));
        usual.filter(|link| link.is_symlink()).into_iter().collect()
    }
}

/// Options of every command that moves the share by hand.
#[derive(Debug, clap::Args)]
pub(crate) struct Moving {
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

impl Moving {
    /// The gateways by their URLs.
    pub(crate) fn urls(&self) -> anyhow::Result<Vec<String>> {
        self.gateways.urls()
    }

    pub(crate) fn hand(&self) -> anyhow::Result<Hand> {
        let gateways = sink::Gateways::new(&self.urls()?, self.layers.links(&self.gateways))?;
        let ledger = self.folder.path(&self.gateways).map(|folder| Ledger::in_folder(&folder)).transpose()?;
        Ok(Hand::new(gateways, ledger, self.voice.by()))
    }

    /// What will not hold or not be known afterwards, for who should know.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.layers.links(&self.gateways).is_empty() {
            warnings.push("until Envoy restarts: no disk layer was named (--runtime LINK)");
        }
        if self.folder.path(&self.gateways).is_none() {
            warnings.push("in no audit log: no guard's folder was named (--folder DIR)");
        }
        warnings
    }
}
