//! The root contexts of one worker, each a plugin with its configuration, and what they share. What is known of a stream
//! between its callbacks is kept by whoever calls: [`crate::plugin::worker`] keeps it by the stream's number, a host that
//! has a place of its own for each stream keeps it there.

use crate::config::{Config, Role};
use crate::plugin::handover::Handover;
use crate::plugin::host::{Host, Level};
use crate::plugin::model::Model;
use crate::plugin::observe::Observe;

/// See the module. Root contexts by their numbers: a few, so that looking at each is quickest.
#[derive(Debug, Default)]
pub struct Roots {
    known: Vec<(u32, Root)>,
    /// Header maps are read into it, one at a time.
    scratch: Vec<u8>,
    handover: Handover,
}

#[derive(Debug)]
enum Root {
    Observe(Box<Observe>),
    Model(Box<Model>),
}

/// A root context, with what all of a worker share.
#[derive(Debug)]
pub struct At<'a, Plugin> {
    /// The plugin.
    pub plugin: &'a mut Plugin,
    /// For header maps.
    pub scratch: &'a mut Vec<u8>,
    /// From "model" to "observe".
    pub handover: &'a mut Handover,
}

impl Roots {
    /// A root context gets its configuration, in place of any that it had. `false` where the host defines no counters: the
    /// reason is in the log.
    pub fn install(&mut self, host: &impl Host, context: u32, config: Config) -> bool {
        let root = match config.role {
            Role::Observe => Observe::new(host, config).map(|root| Root::Observe(Box::new(root))),
            Role::Model => Model::new(host, config).map(|root| Root::Model(Box::new(root))),
        };
        match root {
            Ok(root) => {
                self.close(host, context);
                self.known.push((context, root));
                true
            }
            Err(refused) => {
                host.log(Level::Error, &format!("perch: Envoy defines no counters (status {})", refused.0));
                false
            }
        }
    }

    /// It is configured.
    #[must_use]
    pub fn has(&self, context: u32) -> bool {
        self.known.iter().any(|(known, _)| *known == context)
    }

    /// The plugin "observe" of that number.
    pub fn observe(&mut self, context: u32) -> Option<At<'_, Observe>> {
        let Self { known, scratch, handover } = self;
        match find(known, context)? {
            Root::Observe(plugin) => Some(At { plugin, scratch, handover }),
            Root::Model(_) => None,
        }
    }

    /// The plugin "model" of that number.
    pub fn model(&mut self, context: u32) -> Option<At<'_, Model>> {
        let Self { known, scratch, handover } = self;
        match find(known, context)? {
            Root::Model(plugin) => Some(At { plugin, scratch, handover }),
            Root::Observe(_) => None,
        }
    }

    /// Its counts and batches go.
    pub fn flush(&mut self, host: &impl Host, context: u32) {
        match find(&mut self.known, context) {
            Some(Root::Observe(observe)) => observe.tick(host),
            Some(Root::Model(model)) => model.tick(host),
            None => {}
        }
    }

    /// Its streams whose body may be late, to be looked at one by one; none most times.
    pub fn due(&mut self, host: &impl Host, context: u32) -> Vec<u32> {
        let now_ns = host.now_ns();
        match find(&mut self.known, context) {
            Some(Root::Observe(observe)) => observe.to_look_through(now_ns),
            Some(Root::Model(model)) => model.to_look_through(now_ns),
            None => Vec::new(),
        }
    }

    /// It ends. Was there one?
    pub fn close(&mut self, host: &impl Host, context: u32) -> bool {
        let Some(at) = self.known.iter().position(|(known, _)| *known == context) else { return false };
        match self.known.swap_remove(at).1 {
            Root::Observe(mut observe) => observe.close(host),
            Root::Model(mut model) => model.close(host),
        }
        true
    }
}

fn find(known: &mut [(u32, Root)], context: u32) -> Option<&mut Root> {
    known.iter_mut().find(|(known, _)| *known == context).map(|(_, root)| root)
}
