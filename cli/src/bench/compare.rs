//! Two ways to do the same in turn, and the medians of how long they took.

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
}

/// Runs both commands, so often, each of them first in every other round.
pub fn commands(mut pair: Pair, rounds: usize) -> Result<Comparison> {
    in_turn(|| time(&mut pair.first), || time(&mut pair.second), rounds)
}

/// Measures both, so often, each of them first in every other round.
pub fn in_turn(
    mut measure_first: impl FnMut() -> Result<Duration>,
    mut measure_second: impl FnMut() -> Result<Duration>,
    rounds: usize,
) -> Result<Comparison> {
    ensure!(rounds > 0, "without a round there is nothing to compare");
    // What is read from disk for the first time is read before.
    measure_first()?;
    measure_second()?;
    let (mut first, mut second, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = measure_first()?;
            (a, measure_second()?)
        } else {
            let b = measure_second()?;
            (measure_first()?, b)
        };
        ratios.push(b.as_secs_f64() / a.as_secs_f64());
        first.push(a);
        second.push(b);
    }
    ratios.sort_by(f64::total_cmp);
    first.sort();
    second.sort();
    let middle = rounds / 2;
    Ok(Comparison { first: first[middle], second: second[middle], ratio: ratios[middle] })
}

/// From before it is started until it has ended.
fn time(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let finished = child::run(command)?;
    let duration = start.elapsed();
    finished.success().with_context(|| format!("{command:?}"))?;
    Ok(duration)
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
}
