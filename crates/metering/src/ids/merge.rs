//! How several runs become one.

use super::IdIndex;
use super::cursor::Merged;
use super::error::IdsError;
use super::index::lock;
use super::manifest::RunName;
use super::run::Run;

impl IdIndex {
    /// Does one piece of work on the order of the runs, if there is any, and returns whether it did.
    ///
    /// Merges runs that became too many, or makes the filter over all ids: once after
    /// [`IdIndex::open`], and each time the ids have doubled. Call it until it returns `false`, after
    /// opening and after each [`IdIndex::persist`]. Needs disk space for the result of a merge beside
    /// the runs that it replaces, and 256 KiB of memory for each of these. Look-ups go on; for a while
    /// they may have fewer filters to ask.
    ///
    /// # Errors
    /// [`IdsError`] if the disk refuses or a page is damaged. The runs stay; trying again is safe.
    pub fn merge_step(&self) -> Result<bool, IdsError> {
        let _merging = lock(&self.merging);
        if self.renew_sieve()? {
            return Ok(true);
        }
        let runs = self.read().runs.clone();
        let chosen = choose(&runs.iter().map(|run| run.name().entries).collect::<Vec<_>>());
        if chosen.is_empty() {
            return Ok(false);
        }
        let inputs: Vec<_> = chosen.iter().map(|at| runs[*at].name()).collect();
        let entries = Merged::new(chosen.iter().map(|at| runs[*at].file.entries()))?;
        let left = self.filter_bytes_left(runs.iter().filter(|run| !inputs.contains(&run.name())));
        // Their filters are freed as soon as look-ups no longer need them.
        drop(runs);

        let result = self.write_new_run(inputs.iter().map(|run| run.entries).sum(), left, entries)?;
        self.replace(&inputs, result).inspect_err(|_| self.abandon(result))?;
        self.folder.remove_runs(&inputs);
        (self.folder.at_step)("ids-merged-runs-removed");
        tracing::info!(run = result.number, ids = result.entries, runs = inputs.len(), "runs of ids became one");
        Ok(true)
    }

    /// Publishes the result of a merge in the place of the oldest of its inputs.
    fn replace(&self, inputs: &[RunName], result: RunName) -> Result<(), IdsError> {
        let _publishing = lock(&self.publishing);
        let is_input = |run: &Run| inputs.contains(&run.name());
        let mut runs = self.read().runs.clone();
        let place = runs.iter().position(is_input).expect("only a merge removes runs, and there is one at a time");
        if self.filter_bytes_left(&runs) < self.folder.guide_bytes(result.number)? {
            // Look-ups read pages of the inputs for the moment that it takes to load the result's filter.
            let blind = |run: &Run| if is_input(run) { run.without_filter() } else { run.clone() };
            self.show(self.through_segment(), runs.iter().map(blind).collect());
        }
        runs.retain(|run| !is_input(run));
        runs.insert(place, Run::open(&self.folder, result, self.filter_bytes_left(&runs))?);
        self.publish(self.through_segment(), runs)
    }
}

/// Returns the positions of the runs to merge next, given the lengths of all; none if all is well.
///
/// All is well if every run is larger than half of all smaller ones together: then their number
/// grows with the logarithm of that of the ids. With segments of a million ids there are at most 8
/// runs on the way to 100 million, and an id is written again less than 3 times.
fn choose(lengths: &[u64]) -> Vec<usize> {
    let mut order: Vec<_> = (0..lengths.len()).collect();
    order.sort_by_key(|run| lengths[*run]);
    let (mut chosen, mut smaller) = (0, 0);
    for (position, run) in order.iter().enumerate() {
        if lengths[*run] * 2 <= smaller {
            chosen = position + 1;
        }
        smaller += lengths[*run];
    }
    order.truncate(chosen);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lengths: &[u64], expected: &[usize]) {
        assert_eq!(choose(lengths), expected, "{lengths:?}");
    }

    #[test]
    fn runs_are_merged_up_to_the_largest_that_is_not_larger_than_half_of_all_smaller() {
        check(&[], &[]);
        check(&[5], &[]);
        check(&[64, 16, 4, 2, 1, 1], &[]);
        check(&[64, 3, 1, 1, 1], &[2, 3, 4]);
        check(&[64, 1, 3, 1, 3, 1], &[1, 2, 3, 4, 5]);
        check(&[105, 100], &[]);
        check(&[105, 100, 98], &[]);
        check(&[105, 100, 98, 99], &[0, 1, 2, 3]);
    }

    #[test]
    fn a_hundred_million_ids_are_at_most_eight_runs_and_are_rewritten_less_than_three_times() {
        let (mut runs, mut rewritten, mut runs_max) = (Vec::<u64>::new(), 0, 0);
        for _ in 0..100 {
            runs.push(1_000_000);
            let chosen = choose(&runs);
            let merged: u64 = chosen.iter().map(|run| runs[*run]).sum();
            let mut position = 0..;
            runs.retain(|_| position.next().is_some_and(|position| !chosen.contains(&position)));
            runs.extend((merged > 0).then_some(merged));
            rewritten += merged;
            runs_max = runs_max.max(runs.len());
        }
        println!("100 M ids: at most {runs_max} runs, {rewritten} ids written again");
        assert!(runs_max <= 8 && rewritten < 3 * 100_000_000, "{runs_max} runs, {rewritten} ids written again");
    }
}
