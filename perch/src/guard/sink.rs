//! Where the guard's decisions go: the share, into every gateway.

use std::path::PathBuf;

use contract::switch::{BETA_KEY, RUNTIME_KEY, Share};
use stack::admin::Admin;

use crate::canary::disk::{self, DiskError};

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
    /// It would not survive a restart of the gateway.
    #[error("the share was not written to disk, so it would not survive a restart of the gateway")]
    Disk(#[from] DiskError),
    /// Some gateways do not hold it.
    #[error("{share} does not hold on every gateway: {}", .faults.join("; "))]
    Gateways {
        /// The share.
        share: Share,
        /// Which gateway, and why.
        faults: Vec<String>,
    },
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
    pub fn new(urls: &[String], links: Vec<PathBuf>) -> Result<Self, stack::Error> {
        let admin = |url: &String| {
            let url = url.trim_end_matches('/').to_owned();
            Ok((url.clone(), Admin::new(url)?))
        };
        Ok(Self { links, admins: urls.iter().map(admin).collect::<Result<_, stack::Error>>()? })
    }

    /// What each gateway holds; in words which one cannot be asked.
    pub async fn shares(&self) -> Vec<Result<Share, String>> {
        self.each(|url, admin| async move {
            let held = admin.runtime(RUNTIME_KEY).await.map_err(|error| format!("{url}: {error}"));
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

    async fn tell(&self, share: Share) -> Result<(), SinkError> {
        let faults = self.each(move |url, admin| async move {
            let fault = Self::fault(&url, &admin, RUNTIME_KEY, share).await;
            // Off is off for everybody, or the beta cohort would stay on a model that was rolled back.
            if fault.is_none() && share == Share::OFF {
                return Self::fault(&url, &admin, BETA_KEY, share).await;
            }
            fault
        });
        let faults = faults.await;
        let faults: Vec<String> = faults.into_iter().flatten().collect();
        if faults.is_empty() { Ok(()) } else { Err(SinkError::Gateways { share, faults }) }
    }

    /// Sets the beta cohort's own share everywhere, the disk first; what each gateway held before.
    ///
    /// # Errors
    /// When a gateway cannot be asked, or the share does not hold everywhere in the end.
    pub async fn set_beta(&self, share: Share) -> Result<Vec<Share>, SinkError> {
        let before = self.each(|url, admin| async move {
            let held = admin.runtime(BETA_KEY).await.map_err(|error| format!("{url}: {error}"));
            held.map(|text| text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF))
        });
        let before: Result<Vec<Share>, String> = before.await.into_iter().collect();
        let before = before.map_err(|fault| SinkError::Gateways { share, faults: vec![fault] })?;
        for link in &self.links {
            disk::set(link, BETA_KEY, &share.to_runtime())?;
        }
        let faults = self.each(move |url, admin| async move { Self::fault(&url, &admin, BETA_KEY, share).await }).await;
        let faults: Vec<String> = faults.into_iter().flatten().collect();
        if faults.is_empty() { Ok(before) } else { Err(SinkError::Gateways { share, faults }) }
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
            return Some(format!("{url}: {error}"));
        }
        match admin.runtime(key).await {
            Ok(held) if held.as_deref().and_then(Share::from_runtime) == Some(share) => None,
            Ok(held) => Some(format!("{url} holds {}", held.unwrap_or_else(|| "nothing".to_owned()))),
            Err(error) => Some(format!("{url}: {error}")),
        }
    }
}

impl Sink for Gateways {
    async fn set(&mut self, share: Share) -> Result<(), SinkError> {
        // The disk first: a gateway that restarts in between comes up with the new share. What cannot be written there is
        // not set either, but for a rollback: that must reach the gateways that run.
        let disk = self.links.iter().map(|link| {
            disk::set(link, RUNTIME_KEY, &share.to_runtime())?;
            if share == Share::OFF { disk::set(link, BETA_KEY, &share.to_runtime()) } else { Ok(()) }
        });
        let disk: Result<Vec<()>, DiskError> = disk.collect();
        if share != Share::OFF {
            disk?;
            return self.tell(share).await;
        }
        self.tell(share).await?;
        disk?;
        Ok(())
    }
}
