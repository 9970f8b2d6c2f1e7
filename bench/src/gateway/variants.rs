//! The gateways that are compared: one Envoy each, with one worker, all on the same core. Only the one that is measured
//! has requests.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use contract::ports::Part;
use contract::share::Share;
use serde_json::json;
use stack::{Builder, Stack};

use crate::machine::{self, Cores};

/// A gateway that is measured.
pub(crate) struct Variant {
    /// As the JSON names it.
    pub(crate) key: &'static str,
    /// As a table names it.
    pub(crate) label: &'static str,
    pub(crate) stack: Stack,
    pub(crate) pid: u32,
}

/// The servers behind the gateways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upstreams {
    pub(crate) application: SocketAddr,
    pub(crate) scorer: SocketAddr,
}

/// Name, label and what the gateway is; the first is what the others are compared with.
const ALL: [(&str, &str, Kind); 19] = [
    ("none", "no filter", Kind::Plain),
    ("none_again", "no filter, a second one", Kind::Plain),
    ("nothing", "a Wasm filter that does nothing", Kind::Nothing),
    ("mirror", "Envoy's mirror (compares nothing)", Kind::Mirror),
    ("lua", "a Lua filter, one shadow call a request", Kind::Lua),
    ("perch_0", "Perch, native, share 0%", Kind::Perch(Module::Native, 0)),
    ("perch_10", "Perch, native, share 10%", Kind::Perch(Module::Native, 10)),
    ("perch_100", "Perch, native, share 100%", Kind::Perch(Module::Native, 100)),
    ("perch_body", "Perch, native, share 0%, identity from the body", Kind::PerchBody),
    ("perch_wasm_0", "Perch, WebAssembly, share 0%", Kind::Perch(Module::Wasm, 0)),
    ("perch_wasm_10", "Perch, WebAssembly, share 10%", Kind::Perch(Module::Wasm, 10)),
    ("perch_wasm_100", "Perch, WebAssembly, share 100%", Kind::Perch(Module::Wasm, 100)),
    ("perch_refused", "Perch, WebAssembly, share 100%, no scorer there", Kind::NoScorer),
    ("before_0", "Perch before, native, share 0%", Kind::Before(Module::Native, 0)),
    ("before_10", "Perch before, native, share 10%", Kind::Before(Module::Native, 10)),
    ("before_100", "Perch before, native, share 100%", Kind::Before(Module::Native, 100)),
    ("before_wasm_0", "Perch before, WebAssembly, share 0%", Kind::Before(Module::Wasm, 0)),
    ("before_wasm_10", "Perch before, WebAssembly, share 10%", Kind::Before(Module::Wasm, 10)),
    ("before_wasm_100", "Perch before, WebAssembly, share 100%", Kind::Before(Module::Wasm, 100)),
];

/// The filter's two modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    Native,
    Wasm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Nothing,
    Mirror,
    Lua,
    Perch(Module, u32),
    PerchBody,
    /// Share 100%, and connections to the scorer are refused.
    NoScorer,
    /// Of another checkout.
    Before(Module, u32),
}

/// Starts those whose key `wanted` holds; all where it is empty, with those of the checkout `before` where there is
/// one.
///
/// # Errors
/// When one does not start.
pub(crate) async fn start(
    upstreams: Upstreams,
    cores: &Cores,
    wanted: &[String],
    before: Option<&Path>,
) -> Result<Vec<Variant>> {
    let mut started = Vec::new();
    for (key, label, kind) in ALL {
        let of_before = matches!(kind, Kind::Before(..));
        if !wanted.is_empty() && !wanted.iter().any(|name| name == key) || of_before && before.is_none() {
            continue;
        }
        let refusing = (kind == Kind::NoScorer).then(ShortLivedScorer::listen).transpose()?;
        let upstreams =
            refusing.as_ref().map_or(upstreams, |refusing| Upstreams { scorer: refusing.address, ..upstreams });
        let stack =
            build(kind, upstreams, before)?.start().await.with_context(|| format!("starting the gateway {key:?}"))?;
        drop(refusing);
        let pid = stack.pid(Part::Gateway).context("no Envoy")?;
        machine::pin(pid, &cores.gateway)?;
        started.push(Variant { key, label, stack, pid });
    }
    Ok(started)
}

fn build(kind: Kind, upstreams: Upstreams, before: Option<&Path>) -> Result<Builder> {
    match kind {
        Kind::Before(module, percent) => of_other_checkout(upstreams, before.context("no checkout")?, module, percent),
        Kind::Plain => plain(upstreams, |text| text),
        Kind::Nothing => {
            let module = json!(builder(upstreams)?.checkout().wasm_filter());
            plain(upstreams, move |text| with_filter(&text, &NOTHING.replace("MODULE", &module.to_string())))
        }
        Kind::Mirror => plain(upstreams, move |text| {
            let mirrored = format!("{ROUTE}, request_mirror_policies: [{{cluster: shadow}}]");
            with_shadow(&text.replace(ROUTE, &mirrored), upstreams.application)
        }),
        Kind::Lua => plain(upstreams, move |text| with_shadow(&with_filter(&text, LUA), upstreams.application)),
        Kind::Perch(module, percent) => Ok(perch(upstreams, module)?.share(Share::percent(percent))),
        Kind::NoScorer => Ok(perch(upstreams, Module::Wasm)?.share(Share::ALL)),
        Kind::PerchBody => {
            Ok(perch(upstreams, Module::Native)?.filter_config(&json!({ "identity": [{ "body": "/user_id" }] })))
        }
    }
}

/// A scorer that passes health checks until it is dropped; from then on its port refuses connections.
struct ShortLivedScorer {
    address: SocketAddr,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl ShortLivedScorer {
    fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (address, listener) = (listener.local_addr()?, tokio::net::TcpListener::from_std(listener)?);
        let serving = tokio::spawn(async move {
            loop {
                let connection = hyper_util::rt::TokioIo::new(listener.accept().await?.0);
                let healthy = hyper::service::service_fn(async |_| {
                    Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
                });
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                    let _ = server.serve_connection(connection, healthy).await;
                });
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for ShortLivedScorer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The deadline of [`frozen`]'s gateways for the candidate, in ms; the filter's own default.
pub(crate) const DEADLINE_MS: u32 = 250;

/// Gateways with all users in the canary, by the filter's build. Their scorer accepts connections and never responds;
/// without Envoy's checks of it, each request waits for the whole deadline.
///
/// # Errors
/// When one does not start.
pub(crate) async fn frozen(upstreams: Upstreams, cores: &Cores) -> Result<Vec<(&'static str, Stack, TcpListener)>> {
    let mut started = Vec::new();
    for (name, module) in [("native", Module::Native), ("WebAssembly", Module::Wasm)] {
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let upstreams = Upstreams { scorer: silent.local_addr()?, ..upstreams };
        let deadline = json!({ "scorer": { "deadline_ms": DEADLINE_MS } });
        let builder = perch(upstreams, module)?.scorer_checks(false).share(Share::ALL).filter_config(&deadline);
        let stack = builder.start().await?;
        machine::pin(stack.pid(Part::Gateway).context("no Envoy")?, &cores.gateway)?;
        started.push((name, stack, silent));
    }
    Ok(started)
}

fn builder(upstreams: Upstreams) -> Result<Builder> {
    Ok(Stack::builder()?.rules_at(upstreams.application).scorer_at(upstreams.scorer).access_log(false))
}

/// A gateway without Perch, whose configuration `edit` changes.
fn plain(upstreams: Upstreams, edit: impl Fn(String) -> String + Send + Sync + 'static) -> Result<Builder> {
    Ok(builder(upstreams)?.no_filter().edit_config(move |text| edit(without_our_headers(&text))))
}

fn perch(upstreams: Upstreams, module: Module) -> Result<Builder> {
    let builder = builder(upstreams)?;
    let module = match module {
        Module::Native => builder.checkout().native_filter(),
        Module::Wasm => builder.checkout().wasm_filter(),
    };
    // As in production: Envoy watches the scorer that it calls.
    Ok(builder.module(module).scorer_checks(true))
}

/// The gateway of another checkout, with its modules and as its `stack render` renders it, at the addresses of ours.
/// Its observations are of its own frame: where that is another one, the scorer refuses them, which costs the gateway
/// less.
fn of_other_checkout(upstreams: Upstreams, checkout: &Path, module: Module, percent: u32) -> Result<Builder> {
    let file = match module {
        Module::Native => "target/libperch_filter.so",
        Module::Wasm => "target/perch_filter.wasm",
    };
    let program = checkout.join("target/release/stack");
    ensure!(
        program.exists() && checkout.join(file).exists(),
        "{} has not been built: run `make setup build` there",
        checkout.display()
    );
    let dir = checkout.join(format!("target/bench/{module:?}-{percent}"));
    // Placeholders for the ports that are not known yet.
    let (admin, gateway) = ("65001", "65002");
    let rendered = Command::new(program)
        .args(["render", "--all"])
        .arg(&dir)
        .current_dir(checkout)
        .env("PERCH_FILTER", checkout.join(file))
        .env("PERCH_SALT", "perch-bench-of-another-checkout")
        .env("SUGGEST_USE_MODEL_CANARY", format!("{percent}%"))
        .env("PERCH_RULES_PORT", upstreams.application.port().to_string())
        .env("PERCH_SCORER_PORT", upstreams.scorer.port().to_string())
        .env("PERCH_ADMIN_PORT", admin)
        .env("PERCH_GATEWAY_PORT", gateway)
        .output()
        .context("rendering the other checkout's configuration")?;
    ensure!(rendered.status.success(), "its `stack render`: {}", String::from_utf8_lossy(&rendered.stderr));
    let path = dir.join("run/envoy.yaml");
    let theirs = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(builder(upstreams)?.no_filter().edit_config(move |ours| {
        let mut ports = ours.split("port_value: ").skip(1).map(|rest| rest.split('}').next().unwrap_or_default());
        let (our_admin, our_gateway) = (ports.next().unwrap_or_default(), ports.next().unwrap_or_default());
        let log = ("          access_log:\n", "          route_config:\n");
        without(&theirs, log)
            .replace(&format!("port_value: {admin}"), &format!("port_value: {our_admin}"))
            .replace(&format!("port_value: {gateway}"), &format!("port_value: {our_gateway}"))
    }))
}

/// The application's route in the rendered configuration, up to its closing brace.
const ROUTE: &str = "route: {cluster: rules, timeout: 60s";

/// Perch's own module, which leaves every request alone where it has no configuration, though Envoy enters the VM for
/// each callback all the same.
const NOTHING: &str = r#"
          - name: nothing
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: nothing
                root_id: nothing
                vm_config: {vm_id: nothing, runtime: envoy.wasm.runtime.v8, code: {local: {filename: MODULE}}}
"#;

/// Sends the request's body to the shadow and discards the response, as the mirror does.
const LUA: &str = r#"
          - name: lua
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code:
                inline_string: |
                  function envoy_on_request(handle)
                    local body = handle:body()
                    local text = body:getBytes(0, body:length())
                    local head = handle:headers()
                    handle:httpCall("shadow", {
                      [":method"] = "POST", [":path"] = head:get(":path"), [":authority"] = "shadow",
                      ["content-type"] = head:get("content-type"),
                    }, text, 2000, true)
                  end
"#;

/// The rendered configuration takes headers that only Perch may set out of every request, with the filter and without.
fn without_our_headers(text: &str) -> String {
    without(text, ("          early_header_mutation_extensions:\n", "          route_config:\n"))
}

/// `text` without the part from the first marker to the second.
fn without(text: &str, (begin, end): (&str, &str)) -> String {
    match (text.find(begin), text.find(end)) {
        (Some(begin), Some(end)) if begin < end => [&text[..begin], &text[end..]].concat(),
        _ => text.to_owned(),
    }
}

/// `filter` in front of the router.
fn with_filter(text: &str, filter: &str) -> String {
    let filters = "          http_filters:\n";
    text.replacen(filters, &format!("{filters}{}", filter.trim_start_matches('\n')), 1)
}

/// A cluster `shadow`, the same as the application's.
fn with_shadow(text: &str, at: SocketAddr) -> String {
    let cluster = format!(
        r#"  clusters:
  - name: shadow
    type: STRICT_DNS
    connect_timeout: 1s
    circuit_breakers: {{thresholds: [{{max_connections: 4096, max_pending_requests: 4096, max_requests: 8192}}]}}
    load_assignment:
      cluster_name: shadow
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}]
"#,
        at.ip(),
        at.port()
    );
    text.replacen("  clusters:\n", &cluster, 1)
}
