//! A stack's configurations: the gateway's, the filter's in it, and the runtime's disk layer.

use std::fs;
use std::path::PathBuf;

use contract::ports::Part;
use contract::share::{BETA_KEY, RUNTIME_KEY};
use filter::config::Module;

use crate::builder::Upstream;
use crate::checkout::Checkout;
use crate::error::Error;
use crate::layout::Layout;
use crate::plugin;
use crate::render::{self, Endpoint, Gateway};

impl Layout {
    fn plugin(&self) -> serde_json::Value {
        plugin::document(&self.salt, &self.settings.plugin)
    }

    /// The filter's configuration; `None` without the filter.
    #[must_use]
    pub fn plugin_config(&self) -> Option<String> {
        let used = self.settings.gateway && self.settings.filter;
        used.then(|| self.plugin().to_string())
    }

    fn module_file(&self) -> PathBuf {
        self.settings.module.clone().unwrap_or_else(|| self.settings.checkout.filter())
    }

    /// Which of the filter's two modules the gateway loads: a shared object is the native one.
    pub(crate) fn module(&self) -> Module {
        if self.module_file().extension().is_some_and(|ending| ending == "so") { Module::Native } else { Module::Wasm }
    }

    /// Envoy's configuration for this layout.
    ///
    /// # Errors
    /// When the filter is not built, or the template does not fit.
    pub fn gateway_config(&self) -> Result<String, Error> {
        let settings = &self.settings;
        let endpoint = |upstream: Upstream, part: Part| match upstream {
            Upstream::External(address) => Endpoint::from(address),
            Upstream::Own | Upstream::Refused => Endpoint::from(self.ports.address(part)),
        };
        let module = if settings.filter {
            Some(Checkout::existing("the filter's module", self.module_file(), "run `make build`")?)
        } else {
            None
        };
        let plugin = self.plugin();
        let limit =
            |name: &str| plugin.pointer(&format!("/limits/{name}")).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let held = limit("held_bytes").saturating_add(render::UPSTREAM_BUFFER_BYTES).max(limit("candidate_bytes"));
        let gateway = Gateway {
            listen: Endpoint::from(self.ports.address(Part::Gateway)),
            admin: Endpoint::from(self.ports.address(Part::Admin)),
            rules: endpoint(settings.rules, Part::Rules),
            scorer_live: endpoint(settings.scorer, Part::Scorer),
            scorer_observe: endpoint(settings.scorer, Part::Scorer),
            scorer_api: endpoint(settings.scorer, Part::Scorer),
            native: module.is_some() && self.module() == Module::Native,
            module,
            plugin: plugin.clone(),
            share: settings.share,
            runtime: self.runtime_link(),
            access_log: settings.access_log.then(|| self.run().join("access.log")),
            scorer_checks: settings.scorer_checks,
            // With some room for what is on its way past a limit.
            buffer_bytes: render::BUFFER_BYTES.max(held.saturating_add(held / 4)),
            upstream_buffer_bytes: render::UPSTREAM_BUFFER_BYTES,
            heap_bytes: render::HEAP_BYTES,
            max_connections: render::MAX_CONNECTIONS,
        };
        let rendered = gateway.render(&settings.checkout.file("envoy/envoy.yaml.j2"))?;
        Ok(match &settings.config {
            Some(edit) => (edit.0)(rendered),
            None => rendered,
        })
    }

    /// Removes the shares from the runtime's disk layer, so that the share at start holds; its other keys stay. For a
    /// gateway that does not run: a running one would not notice.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn clear_persisted_share(&self) -> Result<(), Error> {
        let layer = self.runtime_link().join("perch");
        for key in [RUNTIME_KEY, BETA_KEY] {
            let file = layer.join(key);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("removing {}", file.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The symlink under which the runtime's disk layer is read.
    #[must_use]
    pub fn runtime_link(&self) -> PathBuf {
        self.run().join("runtime/current")
    }
}
