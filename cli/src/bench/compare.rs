//! Two ways to do the same in turn, and the medians of how long they took.

use std::mem::MaybeUninit;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::demo::child;

/// Two commands that do the same work.
pub struct Pair {
    pub first: Command,
    pub second: Command,
}

/// Medians.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    pub first: Duration,
    pub second: Duration,
    /// Of the second's times by the first's, round by round: what slows the machine down for a
    /// while slows both.
    pub ratio: f64,
    /// A quarter of the ratios is below the first of these, a quarter above the second.
    pub quartiles: [f64; 2],
}

/// How long commands took by the clock, and how much of the processor's time.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub clock: Comparison,
    /// Of the processes that were waited for: what others do for them is not in it, nor what others
    /// keep them from.
    pub processor: Comparison,
}

/// Runs both commands, so often, each of them first in every other round.
pub fn commands(mut pair: Pair, rounds: usize) -> Result<Times> {
    let [clock, processor] =
        each_in_turn(|| time(&mut pair.first), || time(&mut pair.second), rounds)?;
    Ok(Times { clock, processor })
}

/// Measures both, so often, each of them first in every other round.
pub fn in_turn(
    mut measure_first: impl FnMut() -> Result<Duration>,
    mut measure_second: impl FnMut() -> Result<Duration>,
    rounds: usize,
) -> Result<Comparison> {
    let [seen] = each_in_turn(|| Ok([measure_first()?]), || Ok([measure_second()?]), rounds)?;
    Ok(seen)
}

/// The same with several times of each.
fn each_in_turn<const N: usize>(
    mut measure_first: impl FnMut() -> Result<[Duration; N]>,
    mut measure_second: impl FnMut() -> Result<[Duration; N]>,
    rounds: usize,
) -> Result<[Comparison; N]> {
    ensure!(rounds > 0, "without a round there is nothing to compare");
    // What is read from disk for the first time is read before.
    measure_first()?;
    measure_second()?;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            first.push(measure_first()?);
            second.push(measure_second()?);
        } else {
            second.push(measure_second()?);
            first.push(measure_first()?);
        }
    }
    let of = |times: &[[Duration; N]], which: usize| times.iter().map(|time| time[which]).collect();
    Ok(std::array::from_fn(|which| compare(of(&first, which), of(&second, which))))
}

/// Both have the times of at least one round, in the order of the rounds.
fn compare(mut first: Vec<Duration>, mut second: Vec<Duration>) -> Comparison {
    let ratio = |(a, b): (&Duration, &Duration)| b.as_secs_f64() / a.as_secs_f64();
    let mut ratios: Vec<f64> = first.iter().zip(&second).map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    first.sort();
    second.sort();
    let (middle, quarter) = (ratios.len() / 2, ratios.len() / 4);
    Comparison {
        first: first[middle],
        second: second[middle],
        ratio: ratios[middle],
        quartiles: [ratios[quarter], ratios[ratios.len() - 1 - quarter]],
    }
}

/// From before it is started until it has ended, by the clock and by the processor.
fn time(command: &mut Command) -> Result<[Duration; 2]> {
    let (start, before) = (Instant::now(), processor_time()?);
    let finished = child::run(command)?;
    let times = [start.elapsed(), processor_time()?.saturating_sub(before)];
    finished.success().with_context(|| format!("{command:?}"))?;
    Ok(times)
}

/// What the processes have used that this one and its children have waited for.
#[allow(unsafe_code)]
fn processor_time() -> Result<Duration> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: The kernel stores a `rusage` there, of which any bytes are one.
    let usage = unsafe {
        let result = libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        ensure!(result == 0, "getrusage: {}", std::io::Error::last_os_error());
        usage.assume_init()
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_that_fails_is_no_measurement() {
        let pair = Pair { first: shell("exit 0"), second: shell("echo sorry >&2; exit 3") };
        let error = commands(pair, 1).unwrap_err();
        assert!(format!("{error:#}").contains("sorry"), "{error:#}");
    }

    #[test]
    fn no_round_is_refused() {
        assert!(commands(Pair { first: shell(""), second: shell("") }, 0).is_err());
    }

    #[test]
    fn a_ratio_is_of_one_round_and_told_with_its_quartiles() {
        let seconds = |times: [u64; 5]| times.map(Duration::from_secs).to_vec();
        // The machine is slow in the second round, and the ratio of it is as that of the others.
        let seen = compare(seconds([10, 100, 10, 10, 10]), seconds([11, 120, 13, 10, 14]));
        assert_eq!((seen.first, seen.second), (Duration::from_secs(10), Duration::from_secs(13)));
        assert_eq!((seen.ratio, seen.quartiles), (1.2, [1.1, 1.3]));
    }
}
