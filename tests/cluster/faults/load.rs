//! Reviews without a pause, and what became of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Error};
use tokio::task::JoinHandle;

use crate::certificates::replicas::{client, try_out};
use crate::common::cluster::Kubectl;
use crate::world::World;

/// How many reviews are under way at a time.
const AT_ONCE: usize = 4;

/// Pods that are tried out, one after the other by each of some workers, until it is dropped.
pub struct Load {
    space: Kubectl,
    counts: Arc<Counts>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    unanswered: Mutex<Vec<String>>,
    unasked: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Begins in a namespace where surepull is asked, and has to answer.
    pub fn start(world: &World, space: Kubectl) -> Self {
        let counts = Arc::<Counts>::default();
        let client = world.runtime.block_on(client(&world.cluster.kubeconfig()));
        let pods = Api::namespaced(client, space.name());
        let worker = |()| {
            let work = work(pods.clone(), Arc::clone(&counts));
            world.runtime.spawn(work)
        };
        let workers = [(); AT_ONCE].map(worker).into();
        Self {
            space,
            counts,
            workers,
        }
    }

    /// Waits until some more have been answered.
    pub fn goes_on(&self) {
        let enough = self.answered() + 10 * AT_ONCE;
        self.space.until("reviews are answered", || {
            (self.answered() >= enough).then_some(())
        });
    }

    /// How many have been answered.
    pub fn answered(&self) -> usize {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// What the API server said where surepull was asked and did not answer.
    pub fn unanswered(&self) -> Vec<String> {
        self.counts.unanswered.lock().expect("no panic").clone()
    }

    /// How many Pods the API server did not take at all, because it was away.
    pub fn unasked(&self) -> usize {
        self.counts.unasked.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.counts.over.store(true, Ordering::Relaxed);
        for worker in &self.workers {
            worker.abort();
        }
    }
}

async fn work(pods: Api<Pod>, counts: Arc<Counts>) {
    while !counts.over.load(Ordering::Relaxed) {
        let unanswered = match try_out(&pods).await {
            Ok(image) => (!image.contains("@sha256:")).then_some(image),
            // "failed calling webhook …", or what a webhook denied.
            Err(Error::Api(status)) if status.message.contains("webhook") => Some(status.message),
            Err(_) => {
                counts.unasked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match unanswered {
            Some(said) => counts.unanswered.lock().expect("no panic").push(said),
            None => drop(counts.answered.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
