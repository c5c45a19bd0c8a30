//! Threads for what may wait.
//!
//! A bracket's end waits for the kernel to write pages back, which arrives as requests to this very
//! server. So the threads that answer the kernel never wait; whatever might is handed to these.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that take one job after another.
#[derive(Debug)]
pub(crate) struct Workers {
    jobs: Sender<Job>,
}

impl Workers {
    /// Starts `count` threads, which end when this is dropped.
    pub(crate) fn start(count: usize) -> std::io::Result<Workers> {
        let (sender, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for n in 0..count {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name(format!("bracket-{n}")).spawn(move || {
                loop {
                    let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    job();
                }
            })?;
        }
        Ok(Workers { jobs: sender })
    }

    /// Runs `job` on one of the threads.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        // The receiver lives as long as the threads, and they as long as the sender.
        self.jobs.send(Box::new(job)).expect("the workers live as long as the file system");
    }
}
