//! Sets the canary share on every gateway.

use std::path::PathBuf;

use canary::disk::{self, DiskError, LayerChange};
use clients::{Admin, ClientError, error_chain};
use contract::share::{BETA_KEY, RUNTIME_KEY, Share};

/// A target on which the share can be set.
pub trait Sink {
    /// Sets the share everywhere and verifies that it holds.
    ///
    /// # Errors
    /// When it does not hold everywhere; it may then hold on some gateways.
    fn set(&mut self, share: Share) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// A share that could not be set everywhere.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The share cannot be written to the disk layer, so it was not set at all.
    #[error("nothing was changed: cannot write the share to disk, so it would not survive a restart of the gateway")]
    Disk(#[from] DiskError),
    /// Some gateways did not accept the share; changes made until then were undone.
    #[error("cannot set {share} on every gateway: {}; {}", .faults.join("; "), undone(.not_undone))]
    Gateways {
        /// The share.
        share: Share,
        /// The gateways that failed, each with the reason.
        faults: Vec<String>,
        /// The changes that could not be undone, each with the reason.
        not_undone: Vec<String>,
    },
    /// A share of 0 could not be set on these gateways or layers; it was set on all others.
    #[error("cannot set {} everywhere; it failed on: {}", Share::OFF, .0.join("; "))]
    Off(Vec<String>),
}

fn undone(not_undone: &[String]) -> String {
    if not_undone.is_empty() {
        "every change was undone".to_owned()
    } else {
        format!("some changes could not be undone: {}", not_undone.join("; "))
    }
}

/// The gateways of a deployment.
#[derive(Debug, Clone)]
pub struct Gateways {
    links: Vec<PathBuf>,
    admins: Vec<(String, Admin)>,
}

impl Gateways {
    /// Envoy's admin interfaces at `urls`, and the links of the disk layers that keep the share across restarts.
    ///
    /// # Errors
    /// When no HTTP client can be created.
    pub fn new(urls: &[String], links: Vec<PathBuf>) -> Result<Self, ClientError> {
        let admin = |url: &String| {
            let url = url.trim_end_matches('/').to_owned();
            let admin = Admin::new(&url)?;
            Ok((url, admin))
        };
        Ok(Self { links, admins: urls.iter().map(admin).collect::<Result<_, ClientError>>()? })
    }

    /// The share that each gateway holds, or why it cannot be read.
    pub async fn shares(&self) -> Vec<Result<Share, String>> {
        self.each(|_, admin| async move {
            let held = admin.runtime(RUNTIME_KEY).await.map_err(|error| error_chain(&error));
            // Envoy falls back to its default, 0%, for a value that it cannot parse.
            held.map(|text| text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF))
        })
        .await
    }

    /// Calls all gateways at once, so that one that does not respond does not delay the others.
    async fn each<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        call: impl Fn(String, Admin) -> F,
    ) -> Vec<T> {
        let calls: Vec<_> =
            self.admins.iter().map(|(url, admin)| tokio::spawn(call(url.clone(), admin.clone()))).collect();
        let mut responses = Vec::with_capacity(calls.len());
        for response in calls {
            // A task is cancelled only with the runtime, and this one with it.
            responses.extend(response.await.ok());
        }
        responses
    }

    /// Sets the beta cohort's share everywhere. Returns the share that each gateway held before.
    ///
    /// # Errors
    /// When a gateway cannot be read, or the share does not hold everywhere afterwards.
    pub async fn set_beta(&self, share: Share) -> Result<Vec<Share>, SinkError> {
        let before = self.each(|_, admin| async move {
            let held = admin.runtime(BETA_KEY).await.map_err(|error| error_chain(&error));
            held.map(|text| text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF))
        });
        let before = before.await;
        if share == Share::OFF {
            self.off(&[BETA_KEY]).await?;
            return Ok(before.into_iter().filter_map(Result::ok).collect());
        }
        let before: Result<Vec<Share>, String> = before.into_iter().collect();
        let before =
            before.map_err(|fault| SinkError::Gateways { share, faults: vec![fault], not_undone: Vec::new() })?;
        self.everywhere(BETA_KEY, share).await?;
        Ok(before)
    }

    /// Sets `key` on every layer and every gateway, or nowhere: a share that was rejected must not hold for any user.
    async fn everywhere(&self, key: &'static str, share: Share) -> Result<(), SinkError> {
        let value = share.to_runtime();
        // Errors of a layer surface here, before anything has been changed.
        let prepared = self.links.iter().map(|link| LayerChange::prepare(link, &[(key, &value)]));
        let mut layers = prepared.collect::<Result<Vec<_>, DiskError>>()?;
        let admins =
            self.each(move |_, admin| async move { admin.admin_layer(key).await.map_err(|error| error_chain(&error)) });
        let (admins, faults): (Vec<_>, Vec<_>) = admins.await.into_iter().partition(Result::is_ok);
        let faults: Vec<String> = faults.into_iter().filter_map(Result::err).collect();
        if !faults.is_empty() {
            return Err(SinkError::Gateways { share, faults, not_undone: Vec::new() });
        }
        let admins: Vec<String> = admins.into_iter().filter_map(Result::ok).collect();
        // The disk first: a gateway that restarts in between starts with the new share.
        if let Some(error) = layers.iter_mut().find_map(|layer| layer.carry_out().err()) {
            let not_undone = undo(layers);
            return Err(if not_undone.is_empty() {
                error.into()
            } else {
                SinkError::Gateways { share, faults: vec![error_chain(&error)], not_undone }
            });
        }
        let faults = self.each(move |url, admin| async move { Self::fault(&url, &admin, key, share).await }).await;
        let faults: Vec<String> = faults.into_iter().flatten().collect();
        if faults.is_empty() {
            layers.into_iter().for_each(LayerChange::keep);
            return Ok(());
        }
        let mut not_undone = undo(layers);
        for ((_, admin), value) in self.admins.iter().zip(admins) {
            let Err(error) = admin.set_runtime(key, &value).await else { continue };
            // A gateway that rejects every change has nothing to undo.
            if admin.admin_layer(key).await.ok() != Some(value) {
                not_undone.push(error_chain(&error));
            }
        }
        Err(SinkError::Gateways { share, faults, not_undone })
    }

    /// Sets `keys` to 0 on every gateway and layer that works, even if others fail. The gateways first, since they
    /// serve the candidate; one that restarts in between reads its layer again as soon as that is written.
    async fn off(&self, keys: &'static [&'static str]) -> Result<(), SinkError> {
        let share = Share::OFF;
        let faults = self.each(move |url, admin| async move {
            let mut faults = Vec::new();
            for key in keys {
                faults.extend(Self::fault(&url, &admin, key, share).await);
            }
            faults
        });
        let mut faults = faults.await.concat();
        let value = share.to_runtime();
        let values: Vec<(&str, &str)> = keys.iter().map(|key| (*key, value.as_str())).collect();
        faults.extend(
            self.links.iter().filter_map(|link| disk::set(link, &values).err()).map(|error| error_chain(&error)),
        );
        if faults.is_empty() { Ok(()) } else { Err(SinkError::Off(faults)) }
    }

    /// Links of the disk layers.
    #[must_use]
    pub fn links(&self) -> &[PathBuf] {
        &self.links
    }

    /// Sets `share` on a gateway and verifies it. Returns `None` when the gateway holds it.
    async fn fault(url: &str, admin: &Admin, key: &str, share: Share) -> Option<String> {
        let text = share.to_runtime();
        if let Err(error) = admin.set_runtime(key, &text).await {
            return Some(error_chain(&error));
        }
        match admin.runtime(key).await {
            Ok(held) if held.as_deref().and_then(Share::from_runtime) == Some(share) => None,
            Ok(held) => Some(format!("{url} holds {}", held.unwrap_or_else(|| "nothing".to_owned()))),
            Err(error) => Some(error_chain(&error)),
        }
    }
}

impl Sink for Gateways {
    async fn set(&mut self, share: Share) -> Result<(), SinkError> {
        if share == Share::OFF {
            // Both keys, or the beta cohort would stay on a model that was rolled back.
            self.off(&[RUNTIME_KEY, BETA_KEY]).await
        } else {
            self.everywhere(RUNTIME_KEY, share).await
        }
    }
}

/// Undoes the changes of layers. Returns those that could not be undone.
fn undo(layers: Vec<LayerChange>) -> Vec<String> {
    layers.into_iter().filter_map(|layer| layer.undo().err()).map(|error| error_chain(&error)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::super::testing::FakeGateway;
    use super::*;

    fn layer(folder: &Path, name: &str) -> PathBuf {
        let layer = folder.join(name);
        fs::create_dir_all(layer.join("v1/perch")).unwrap();
        fs::write(layer.join("v1/perch").join(RUNTIME_KEY), "5").unwrap();
        symlink("v1", layer.join("current")).unwrap();
        layer.join("current")
    }

    fn sink(gateways: &[&FakeGateway], links: &[&PathBuf]) -> Gateways {
        let urls: Vec<String> = gateways.iter().map(|gateway| gateway.url.clone()).collect();
        Gateways::new(&urls, links.iter().map(|link| (*link).clone()).collect()).unwrap()
    }

    fn share_in(link: &Path) -> Option<String> {
        disk::get(link, RUNTIME_KEY)
    }

    #[tokio::test]
    async fn case_e3b_a_share_that_is_rejected_holds_for_no_user() {
        let folder = tempfile::tempdir().unwrap();
        let (good, none) = (layer(folder.path(), "a"), folder.path().join("nolink"));
        let gateway = FakeGateway::start("5").await;
        let before = fs::read_dir(folder.path().join("a")).unwrap().count();
        // Case E3: of two layers one is no link.
        for links in [[&good, &none], [&none, &good]] {
            let error = error_chain(&sink(&[&gateway], &links).set(Share::ALL).await.unwrap_err());
            assert!(error.contains("nolink") && error.contains("nothing was changed"), "{error}");
            assert_eq!((gateway.share().as_str(), share_in(&good).as_deref()), ("5", Some("5")));
        }
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), before, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_share_that_one_gateway_rejects_is_undone_on_the_others_and_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let good = layer(folder.path(), "a");
        let (one, other) = (FakeGateway::start("5").await, FakeGateway::rejecting("5").await);
        let error = sink(&[&one, &other], &[&good]).set(Share::ALL).await.unwrap_err().to_string();
        assert!(error.contains(&other.url) && error.contains("503"), "{error}");
        assert!(error.contains("every change was undone"), "{error}");
        assert_eq!((one.share().as_str(), share_in(&good).as_deref()), ("5", Some("5")));
    }

    #[tokio::test]
    async fn case_e3c_a_rollback_reaches_every_layer_and_gateway_that_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let (first, none, last) = (layer(folder.path(), "a"), folder.path().join("nolink"), layer(folder.path(), "b"));
        let (gone, gateway) = (FakeGateway::unreachable(), FakeGateway::start("100").await);
        let error = sink(&[&gone, &gateway], &[&first, &none, &last]).set(Share::OFF).await.unwrap_err().to_string();
        assert!(error.contains("nolink") && error.contains(&gone.url), "{error}");
        assert_eq!((share_in(&first).as_deref(), share_in(&last).as_deref()), (Some("0"), Some("0")));
        assert_eq!(disk::get(&last, BETA_KEY).as_deref(), Some("0"));
        assert_eq!(gateway.share(), "0");
    }

    #[tokio::test]
    async fn the_beta_share_is_set_everywhere_or_nowhere_too() {
        let folder = tempfile::tempdir().unwrap();
        let (good, none) = (layer(folder.path(), "a"), folder.path().join("nolink"));
        let gateway = FakeGateway::start("5").await;
        sink(&[&gateway], &[&good, &none]).set_beta(Share::ALL).await.unwrap_err();
        assert_eq!(disk::get(&good, BETA_KEY), None);
        sink(&[&gateway, &FakeGateway::unreachable()], &[&none, &good]).set_beta(Share::OFF).await.unwrap_err();
        assert_eq!(disk::get(&good, BETA_KEY).as_deref(), Some("0"));
    }
}
