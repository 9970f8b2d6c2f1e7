//! Where the guard's decisions go: the share, into every gateway.

use std::path::PathBuf;

use canary::disk::{self, DiskError, LayerChange};
use clients::{Admin, ClientError, in_words};
use contract::share::{BETA_KEY, RUNTIME_KEY, Share};

/// Something that can be told a share.
pub trait Sink {
    /// Sets the share everywhere and makes sure that it holds.
    ///
    /// # Errors
    /// When it does not hold everywhere; it may then hold in some places.
    fn set(&mut self, share: Share) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// A share that does not hold everywhere.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It would not survive a restart of the gateway, so it was not set.
    #[error(
        "nothing was changed: the share cannot be written to disk, so it would not survive a restart of the gateway"
    )]
    Disk(#[from] DiskError),
    /// Some gateways did not take it; what had been changed by then was put back.
    #[error("{share} does not hold on every gateway: {}; {}", .faults.join("; "), put_back(.left))]
    Gateways {
        /// The share.
        share: Share,
        /// Which gateway, and why.
        faults: Vec<String>,
        /// What could not be put back, and why; empty where everything is as it was.
        left: Vec<String>,
    },
    /// A share of 0 does not hold everywhere; it does everywhere else.
    #[error("{} was done wherever it could be, and failed here: {}", Share::OFF, .0.join("; "))]
    Off(Vec<String>),
}

fn put_back(left: &[String]) -> String {
    if left.is_empty() {
        "everything is as it was before".to_owned()
    } else {
        format!("what had been changed was not put back everywhere: {}", left.join("; "))
    }
}

/// The gateways of a deployment.
#[derive(Debug, Clone)]
pub struct Gateways {
    links: Vec<PathBuf>,
    admins: Vec<(String, Admin)>,
}

impl Gateways {
    /// Envoy's admin interfaces at `urls`, and the links of the disk layers that survive their restarts.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(urls: &[String], links: Vec<PathBuf>) -> Result<Self, ClientError> {
        let admin = |url: &String| {
            let url = url.trim_end_matches('/').to_owned();
            let admin = Admin::new(&url)?;
            Ok((url, admin))
        };
        Ok(Self { links, admins: urls.iter().map(admin).collect::<Result<_, ClientError>>()? })
    }

    /// What each gateway holds; in words which one cannot be asked.
    pub async fn shares(&self) -> Vec<Result<Share, String>> {
        self.each(|_, admin| async move {
            let held = admin.runtime(RUNTIME_KEY).await.map_err(|error| in_words(&error));
            // What Envoy cannot read as a share is its default, off.
            held.map(|text| text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF))
        })
        .await
    }

    /// All gateways at once: one that does not answer must not keep the others waiting.
    async fn each<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        ask: impl Fn(String, Admin) -> F,
    ) -> Vec<T> {
        let asked: Vec<_> =
            self.admins.iter().map(|(url, admin)| tokio::spawn(ask(url.clone(), admin.clone()))).collect();
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            // A task ends early only with its runtime, and this one with it.
            answers.extend(answer.await.ok());
        }
        answers
    }

    /// Sets the beta cohort's own share everywhere; what each gateway held before.
    ///
    /// # Errors
    /// When a gateway cannot be asked, or the share does not hold everywhere in the end.
    pub async fn set_beta(&self, share: Share) -> Result<Vec<Share>, SinkError> {
        let before = self.each(|_, admin| async move {
            let held = admin.runtime(BETA_KEY).await.map_err(|error| in_words(&error));
            held.map(|text| text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF))
        });
        let before = before.await;
        if share == Share::OFF {
            self.off(&[BETA_KEY]).await?;
            return Ok(before.into_iter().filter_map(Result::ok).collect());
        }
        let before: Result<Vec<Share>, String> = before.into_iter().collect();
        let before = before.map_err(|fault| SinkError::Gateways { share, faults: vec![fault], left: Vec::new() })?;
        self.everywhere(BETA_KEY, share).await?;
        Ok(before)
    }

    /// Sets `key` on every layer and every gateway, or nowhere: a share that was refused must not hold for anybody.
    async fn everywhere(&self, key: &'static str, share: Share) -> Result<(), SinkError> {
        let value = share.to_runtime();
        // Whatever can fail for a layer fails here, where nothing has been changed yet.
        let prepared = self.links.iter().map(|link| LayerChange::prepare(link, &[(key, &value)]));
        let mut layers = prepared.collect::<Result<Vec<_>, DiskError>>()?;
        let admins =
            self.each(move |_, admin| async move { admin.admin_layer(key).await.map_err(|error| in_words(&error)) });
        let (admins, faults): (Vec<_>, Vec<_>) = admins.await.into_iter().partition(Result::is_ok);
        let faults: Vec<String> = faults.into_iter().filter_map(Result::err).collect();
        if !faults.is_empty() {
            return Err(SinkError::Gateways { share, faults, left: Vec::new() });
        }
        let admins: Vec<String> = admins.into_iter().filter_map(Result::ok).collect();
        // The disk first: a gateway that restarts in between comes up with the new share.
        if let Some(error) = layers.iter_mut().find_map(|layer| layer.carry_out().err()) {
            let left = undo(layers);
            return Err(if left.is_empty() {
                error.into()
            } else {
                SinkError::Gateways { share, faults: vec![in_words(&error)], left }
            });
        }
        let faults = self.each(move |url, admin| async move { Self::fault(&url, &admin, key, share).await }).await;
        let faults: Vec<String> = faults.into_iter().flatten().collect();
        if faults.is_empty() {
            layers.into_iter().for_each(LayerChange::keep);
            return Ok(());
        }
        let mut left = undo(layers);
        for ((_, admin), value) in self.admins.iter().zip(admins) {
            let Err(error) = admin.set_runtime(key, &value).await else { continue };
            // One that takes no share has nothing to put back.
            if admin.admin_layer(key).await.ok() != Some(value) {
                left.push(in_words(&error));
            }
        }
        Err(SinkError::Gateways { share, faults, left })
    }

    /// Sets `keys` to 0 wherever that can be done, whatever fails elsewhere. The gateways first, since users are on the
    /// model there; one that restarts in between reads its layer again as soon as that is written.
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
        faults
            .extend(self.links.iter().filter_map(|link| disk::set(link, &values).err()).map(|error| in_words(&error)));
        if faults.is_empty() { Ok(()) } else { Err(SinkError::Off(faults)) }
    }

    /// The disk layers that are written too.
    #[must_use]
    pub fn links(&self) -> &[PathBuf] {
        &self.links
    }

    /// `None` when the gateway holds the share.
    async fn fault(url: &str, admin: &Admin, key: &str, share: Share) -> Option<String> {
        let text = share.to_runtime();
        if let Err(error) = admin.set_runtime(key, &text).await {
            return Some(in_words(&error));
        }
        match admin.runtime(key).await {
            Ok(held) if held.as_deref().and_then(Share::from_runtime) == Some(share) => None,
            Ok(held) => Some(format!("{url} holds {}", held.unwrap_or_else(|| "nothing".to_owned()))),
            Err(error) => Some(in_words(&error)),
        }
    }
}

impl Sink for Gateways {
    async fn set(&mut self, share: Share) -> Result<(), SinkError> {
        if share == Share::OFF {
            // Off is off for everybody, or the beta cohort would stay on a model that was rolled back.
            self.off(&[RUNTIME_KEY, BETA_KEY]).await
        } else {
            self.everywhere(RUNTIME_KEY, share).await
        }
    }
}

/// Puts the layers back; what could not be.
fn undo(layers: Vec<LayerChange>) -> Vec<String> {
    layers.into_iter().filter_map(|layer| layer.undo().err()).map(|error| in_words(&error)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::super::testing::Gateway;
    use super::*;

    fn layer(folder: &Path, name: &str) -> PathBuf {
        let layer = folder.join(name);
        fs::create_dir_all(layer.join("v1/perch")).unwrap();
        fs::write(layer.join("v1/perch").join(RUNTIME_KEY), "5").unwrap();
        symlink("v1", layer.join("current")).unwrap();
        layer.join("current")
    }

    fn sink(gateways: &[&Gateway], links: &[&PathBuf]) -> Gateways {
        let urls: Vec<String> = gateways.iter().map(|gateway| gateway.url.clone()).collect();
        Gateways::new(&urls, links.iter().map(|link| (*link).clone()).collect()).unwrap()
    }

    fn held(link: &Path) -> Option<String> {
        disk::get(link, RUNTIME_KEY)
    }

    #[tokio::test]
    async fn case_e3b_a_share_that_is_refused_holds_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (good, none) = (layer(folder.path(), "a"), folder.path().join("nolink"));
        let gateway = Gateway::start("5").await;
        let before = fs::read_dir(folder.path().join("a")).unwrap().count();
        // Case E3: of two layers one is no link.
        for links in [[&good, &none], [&none, &good]] {
            let error = in_words(&sink(&[&gateway], &links).set(Share::ALL).await.unwrap_err());
            assert!(error.contains("nolink") && error.contains("nothing was changed"), "{error}");
            assert_eq!((gateway.share().as_str(), held(&good).as_deref()), ("5", Some("5")));
        }
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), before, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_share_that_one_gateway_refuses_is_put_back_on_the_others_and_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let good = layer(folder.path(), "a");
        let (one, other) = (Gateway::start("5").await, Gateway::refusing("5").await);
        let error = sink(&[&one, &other], &[&good]).set(Share::ALL).await.unwrap_err().to_string();
        assert!(error.contains(&other.url) && error.contains("503"), "{error}");
        assert!(error.contains("everything is as it was before"), "{error}");
        assert_eq!((one.share().as_str(), held(&good).as_deref()), ("5", Some("5")));
    }

    #[tokio::test]
    async fn case_e3c_a_rollback_reaches_every_layer_and_gateway_that_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let (first, none, last) = (layer(folder.path(), "a"), folder.path().join("nolink"), layer(folder.path(), "b"));
        let (gone, gateway) = (Gateway::gone(), Gateway::start("100").await);
        let error = sink(&[&gone, &gateway], &[&first, &none, &last]).set(Share::OFF).await.unwrap_err().to_string();
        assert!(error.contains("nolink") && error.contains(&gone.url), "{error}");
        assert_eq!((held(&first).as_deref(), held(&last).as_deref()), (Some("0"), Some("0")));
        assert_eq!(disk::get(&last, BETA_KEY).as_deref(), Some("0"));
        assert_eq!(gateway.share(), "0");
    }

    #[tokio::test]
    async fn the_beta_share_is_set_everywhere_or_nowhere_too() {
        let folder = tempfile::tempdir().unwrap();
        let (good, none) = (layer(folder.path(), "a"), folder.path().join("nolink"));
        let gateway = Gateway::start("5").await;
        sink(&[&gateway], &[&good, &none]).set_beta(Share::ALL).await.unwrap_err();
        assert_eq!(disk::get(&good, BETA_KEY), None);
        sink(&[&gateway, &Gateway::gone()], &[&none, &good]).set_beta(Share::OFF).await.unwrap_err();
        assert_eq!(disk::get(&good, BETA_KEY).as_deref(), Some("0"));
    }
}
