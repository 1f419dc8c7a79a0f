//! What labelled scores amount to: rates, ranking measures, quantiles.
//!
//! All of it is defined on scores with ties: rows of equal score stand or fall together.

/// A score and whether its row is labelled unsafe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) score: f64,
    pub(super) is_unsafe: bool,
}

/// What a threshold gives: the share of safe rows and of unsafe rows at or above it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) false_positives: f64,
    pub(super) recall: f64,
}

/// `part` of `whole`; none of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| real(part) / real(whole))
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}

/// The harmonic mean of precision and recall; none where nothing is unsafe.
pub(super) fn f1(hits: u64, false_hits: u64, misses: u64) -> Option<f64> {
    (hits + misses > 0).then(|| 2.0 * real(hits) / real(2 * hits + false_hits + misses))
}

/// The chance that an unsafe row scores above a safe one, ties counting half; none where either kind is missing.
pub(super) fn auroc(scored: &[Scored]) -> Option<f64> {
    let points = curve(scored)?;
    let steps = points.iter().zip(points.iter().skip(1));
    // The trapezoid over a step of tied rows counts their pairs half.
    let area = steps.map(|(from, to)| {
        (to.false_positives - from.false_positives) * f64::midpoint(from.recall, to.recall)
    });
    Some(area.sum())
}

/// The best recall of a threshold that no more than `false_positives` of the safe rows reach.
///
/// None where there are too few safe rows to tell: with fewer than `1 / false_positives` of them the threshold
/// would lie above all that were seen, and say nothing of the next.
pub(super) fn recall_at(scored: &[Scored], false_positives: f64) -> Option<f64> {
    let safe = scored.iter().filter(|row| !row.is_unsafe).count() as u64;
    if real(safe) * false_positives < 1.0 {
        return None;
    }
    let allowed = curve(scored)?.into_iter().filter(|at| at.false_positives <= false_positives);
    Some(allowed.map(|point| point.recall).fold(0.0, f64::max))
}

/// Every threshold's point, from the strictest to the laxest, (0, 0) first; none where either kind is missing.
pub(super) fn curve(scored: &[Scored]) -> Option<Vec<Point>> {
    let all_unsafe = scored.iter().filter(|row| row.is_unsafe).count() as u64;
    let all_safe = scored.len() as u64 - all_unsafe;
    if all_unsafe == 0 || all_safe == 0 {
        return None;
    }
    let mut falling = scored.to_vec();
    falling.sort_by(|left, right| right.score.total_cmp(&left.score));
    let mut points = vec![Point { false_positives: 0.0, recall: 0.0 }];
    let (mut safe, mut hits) = (0, 0);
    for tied in falling.chunk_by(|left, right| left.score.total_cmp(&right.score).is_eq()) {
        let unsafe_here = tied.iter().filter(|row| row.is_unsafe).count() as u64;
        hits += unsafe_here;
        safe += tied.len() as u64 - unsafe_here;
        points.push(Point {
            false_positives: real(safe) / real(all_safe),
            recall: real(hits) / real(all_unsafe),
        });
    }
    Some(points)
}

/// The least value that at least `percent` of the values do not exceed; none of nothing.
pub(super) fn quantile(values: &[u64], percent: usize) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(unsafe_scores: &[f64], safe_scores: &[f64]) -> Vec<Scored> {
        let of = |is_unsafe| move |&score: &f64| Scored { score, is_unsafe };
        unsafe_scores.iter().map(of(true)).chain(safe_scores.iter().map(of(false))).collect()
    }

    fn close(left: Option<f64>, right: f64) {
        assert!((left.unwrap() - right).abs() < 1e-12, "{left:?} is not {right}");
    }

    #[test]
    fn auroc_is_the_share_of_pairs_in_the_right_order() {
        close(auroc(&rows(&[0.9, 0.8], &[0.1, 0.2])), 1.0);
        close(auroc(&rows(&[0.1], &[0.9])), 0.0);
        // Of the six pairs five are in order.
        close(auroc(&rows(&[0.9, 0.5], &[0.7, 0.4, 0.1])), 5.0 / 6.0);
    }

    #[test]
    fn tied_pairs_count_half() {
        close(auroc(&rows(&[0.5, 0.5], &[0.5, 0.5, 0.5])), 0.5);
        // Pairs: 0.5 against 0.5 (half), 0.5 against 0 (one), 0 against 0.5 (none), 0 against 0 (half).
        close(auroc(&rows(&[0.5, 0.0], &[0.5, 0.0])), 0.5);
        close(auroc(&rows(&[0.5, 0.0, 0.0, 0.0], &[0.0, 0.0])), 0.625);
    }

    #[test]
    fn one_kind_alone_cannot_be_ranked() {
        assert_eq!(auroc(&rows(&[0.5], &[])), None);
        assert_eq!(curve(&rows(&[], &[0.5])), None);
        assert_eq!(recall_at(&[], 0.5), None);
    }

    #[test]
    fn recall_is_that_of_the_laxest_threshold_within_the_rate() {
        let scored = rows(&[0.9, 0.6, 0.3, 0.1], &[0.7, 0.2, 0.0, 0.0]);
        close(recall_at(&scored, 0.25), 0.75);
        close(recall_at(&scored, 0.5), 1.0);
        // Of rows that tie with a safe one, none is taken.
        close(recall_at(&rows(&[0.9, 0.5], &[0.5, 0.5, 0.1, 0.1]), 0.25), 0.5);
        // Three safe rows cannot show a rate of one in four.
        assert_eq!(recall_at(&rows(&[0.9], &[0.1, 0.1, 0.1]), 0.25), None);
    }

    #[test]
    fn f1_is_the_harmonic_mean() {
        // Precision 3/4, recall 3/5.
        close(f1(3, 1, 2), 2.0 * 0.75 * 0.6 / (0.75 + 0.6));
        assert_eq!(f1(0, 4, 0), None);
        close(f1(0, 4, 1), 0.0);
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        assert_eq!(quantile(&[4, 1, 3, 2], 50), Some(2));
        assert_eq!(quantile(&[3, 1, 2], 50), Some(2));
        assert_eq!(quantile(&[7], 99), Some(7));
        assert_eq!(quantile(&[], 50), None);
    }
}
