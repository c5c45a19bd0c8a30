//! Threads for what may wait.
//!
//! A bracket's end waits for the kernel to write pages back, which arrives as requests to this very
//! server. So the threads that answer the kernel never wait; whatever might is handed to these.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that take one job after another.
#[derive(Debug)]
pub(crate) struct Workers {
    /// `None` once they are to end.
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn start(name: &str, count: usize) -> io::Result<Workers> {
        Workers::start_with(name, count, || Ok(()))
    }

    /// Starts `count` threads that do `first` before anything else; all of them have when this
    /// returns.
    pub(crate) fn start_with(
        name: &str,
        count: usize,
        first: fn() -> io::Result<()>,
    ) -> io::Result<Workers> {
        let (sender, receiver) = channel::<Job>();
        let (done, outcomes) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for n in 0..count {
            let receiver = Arc::clone(&receiver);
            let done = done.clone();
            let work = move || {
                // Whoever starts these waits for it.
                let _ = done.send(first());
                loop {
                    let job = lock(&receiver).recv();
                    let Ok(job) = job else { return };
                    // The panic has been told; the next job needs the thread.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            };
            threads.push(std::thread::Builder::new().name(format!("{name}-{n}")).spawn(work)?);
        }
        drop(done);
        outcomes.iter().take(count).collect::<io::Result<()>>()?;
        Ok(Workers { jobs: Mutex::new(Some(sender)), threads: Mutex::new(threads) })
    }

    /// Runs `job` on one of the threads; once they have ended it is dropped, and with it a reply in
    /// it, which answers EIO.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(jobs) = &*lock(&self.jobs) {
            // The receiver lives as long as the sender.
            let _ = jobs.send(Box::new(job));
        }
    }

    /// Waits for the jobs there are, and takes no more.
    pub(crate) fn close(&self) {
        drop(lock(&self.jobs).take());
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // It catches the panics of its jobs.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn jobs_that_panic_leave_the_others_alone() {
        let workers = Workers::start("test", 1).unwrap();
        let (sender, receiver) = channel();
        workers.run(|| panic!("a job that fails, as this test wants"));
        workers.run(move || sender.send(7).unwrap());
        assert_eq!(receiver.recv(), Ok(7));
    }

    #[test]
    fn closing_waits_for_the_jobs_and_drops_later_ones() {
        let workers = Workers::start("test", 2).unwrap();
        let (sender, receiver) = channel();
        for n in 0..100 {
            let sender = sender.clone();
            workers.run(move || sender.send(n).unwrap());
        }
        workers.close();
        workers.run(move || sender.send(100).unwrap());
        assert_eq!(receiver.into_iter().count(), 100);
    }
}
