use super::super::SCRAPED_AT;
use super::*;

const STEP_MS: u64 = 5_000;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A counter of `instance`, as job `job` shows it.
fn of_job(job: &str, instance: &str, value: f64) -> Sample {
    Sample { name: "c".into(), labels: labels(&[("instance", instance), ("job", job)]), value }
}

fn sample(instance: &str, value: f64) -> Sample {
    of_job("x", instance, value)
}

/// When `instance` was scraped.
fn scraped(instance: &str, seconds: f64) -> Sample {
    Sample { name: SCRAPED_AT.into(), ..sample(instance, seconds) }
}

fn other(instance: &str, value: f64) -> Sample {
    Sample { name: "d".into(), ..sample(instance, value) }
}

/// Totals, evaluated every five seconds.
#[derive(Default)]
struct Watched {
    totals: Totals,
    now_ms: u64,
}

impl Watched {
    fn take(&mut self, samples: &[Sample]) -> Vec<String> {
        self.now_ms += STEP_MS;
        self.totals.take(self.now_ms, samples, |name| match name {
            "c" => Some(&["source"]),
            "d" => Some(&[]),
            _ => None,
        })
    }

    fn counted(&self) -> f64 {
        self.totals.counted("c", &[]).unwrap()
    }
}

#[test]
fn a_restart_loses_nothing_and_counts_nothing_twice() {
    let mut watched = Watched::default();
    for value in [100.0, 110.0, 5.0, 8.0] {
        assert!(watched.take(&[sample("a", value)]).is_empty());
    }
    assert_eq!(watched.counted(), 18.0);
}

#[test]
fn what_a_new_target_counted_before_is_not_ours() {
    let mut watched = Watched::default();
    watched.take(&[sample("a", 1.0)]);
    watched.take(&[sample("a", 2.0), sample("b", 5000.0)]);
    watched.take(&[sample("b", 5001.0), sample("a", 2.0)]);
    assert_eq!(watched.counted(), 2.0);
}

#[test]
fn what_is_not_a_count_is_left_out() {
    let mut watched = Watched::default();
    watched.take(&[sample("a", 1.0)]);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -5.0] {
        watched.take(&[sample("a", value), other("a", 1.0)]);
    }
    watched.take(&[sample("a", 4.0)]);
    assert_eq!(watched.counted(), 3.0);
}

#[test]
fn stored_it_goes_on() {
    let mut watched = Watched::default();
    watched.take(&[sample("a", 1.0)]);
    watched.totals = serde_json::from_str(&serde_json::to_string(&watched.totals).unwrap()).unwrap();
    watched.take(&[sample("a", 4.0)]);
    assert_eq!(watched.counted(), 3.0);
}

#[test]
fn case_3_a_replica_that_is_a_little_behind_adds_nothing() {
    let mut watched = Watched::default();
    let mut doubted = 0;
    for call in 0..20_u32 {
        let ahead = 100_000.0 + 5.0 * f64::from(call);
        let behind = if call % 2 == 1 { 10.0 } else { 0.0 };
        doubted += watched.take(&[sample("a", ahead - behind), other("a", 3.0)]).len();
    }
    assert_eq!(watched.counted(), 90.0, "what the one that is ahead has counted from call 0 to 18");
    assert!(doubted > 5, "and the evaluations between are said not to be good");
}

#[test]
fn case_3_with_scrape_times_two_replicas_count_as_one_and_nothing_is_in_doubt() {
    let mut watched = Watched::default();
    for call in 0..20_u32 {
        // Each scrapes every ten seconds, three seconds apart; the address answers for them in turn.
        let now = f64::from(call) * 5.0;
        let phase = if call % 2 == 1 { 3.0 } else { 0.0 };
        let at = ((now - phase) / 10.0).floor() * 10.0 + phase;
        let value = 100_000.0 + at * 7.0;
        let doubts = watched.take(&[scraped("a", 1_000.0 + at), sample("a", value)]);
        assert!(doubts.is_empty(), "{doubts:?}");
    }
    assert!((watched.counted() - 90.0 * 7.0).abs() <= 7.0 * 7.0, "{}", watched.counted());
}

#[test]
fn a_replica_that_stays_behind_is_believed_after_a_minute_and_gives_nothing_for_nothing() {
    let mut watched = Watched::default();
    watched.take(&[scraped("a", 5_000.0), sample("a", 1_000.0)]);
    // The one whose clock was ahead is gone for good.
    let doubts: Vec<String> =
        (1..=14).flat_map(|call| watched.take(&[scraped("a", f64::from(call)), sample("a", 900.0)])).collect();
    assert_eq!(doubts, ["a shows only samples from before those that were counted"]);
    watched.take(&[scraped("a", 20.0), sample("a", 907.0)]);
    assert_eq!(watched.counted(), 7.0);
}

#[test]
fn case_4_a_target_that_is_missing_keeps_its_count_and_is_in_doubt() {
    let mut watched = Watched::default();
    watched.take(&[sample("a", 0.0), sample("b", 0.0)]);
    watched.take(&[sample("a", 10.0), sample("b", 10_000.0)]);
    let doubts = watched.take(&[sample("a", 20.0)]);
    assert_eq!((doubts, watched.counted()), (vec!["b is missing".to_owned()], 10_020.0));
    assert!(watched.take(&[sample("a", 30.0), sample("b", 10_005.0)]).is_empty());
    assert_eq!(watched.counted(), 10_035.0);
}

#[test]
fn case_4_what_a_missing_target_counted_when_a_step_began_is_not_the_steps() {
    let mut watched = Watched::default();
    watched.take(&[sample("a", 0.0), sample("b", 0.0)]);
    watched.take(&[sample("a", 10.0)]);
    let before = watched.counted();
    watched.totals.step_begins(watched.now_ms);
    watched.take(&[sample("a", 11.0), sample("b", 10_000.0)]);
    watched.take(&[sample("a", 12.0), sample("b", 10_003.0)]);
    assert_eq!(watched.counted() - before, 2.0 + 3.0);
}

#[test]
fn case_7_and_a23_two_jobs_count_once_and_one_takes_over_from_the_other() {
    let mut watched = Watched::default();
    for value in [0.0, 1_000.0] {
        watched.take(&[of_job("gateway", "a", value), of_job("gateway-again", "a", value)]);
    }
    assert_eq!(watched.counted(), 1_000.0);
    watched.take(&[of_job("gateway-again", "a", 1_400.0)]);
    assert_eq!(watched.counted(), 1_000.0, "it may be another program under the same name: counting begins there");
    watched.take(&[of_job("gateway-again", "a", 1_450.0), of_job("gateway", "a", 1_450.0)]);
    assert_eq!(watched.counted(), 1_050.0);
}

#[test]
fn of_a_federated_server_the_targets_are_those_that_it_scrapes() {
    let mut watched = Watched::default();
    let of = |inner: &str, value: f64| Sample {
        labels: labels(&[("instance", "prometheus:9090"), ("exported_instance", inner), ("exported_job", "gateway")]),
        ..sample("", value)
    };
    watched.take(&[of("a", 0.0), of("b", 0.0)]);
    watched.take(&[of("a", 10.0), of("b", 20.0)]);
    assert_eq!(watched.counted(), 30.0);
}

#[test]
fn a_label_of_ours_that_the_scrape_renamed_is_found() {
    let mut watched = Watched::default();
    let with = |pairs: &[(&str, &str)], value: f64| Sample { labels: labels(pairs), ..sample("", value) };
    for value in [0.0, 5.0] {
        let own = with(&[("instance", "a"), ("source", "kubernetes"), ("exported_source", "rule")], value);
        let without = Sample { name: "d".into(), ..with(&[("instance", "a"), ("source", "kubernetes")], value) };
        assert!(watched.take(&[own, without]).is_empty());
    }
    assert_eq!(watched.totals.counted("c", &[("source", "rule")]), Some(5.0));
    assert_eq!(watched.totals.counted("c", &[("source", "kubernetes")]), None);
    assert_eq!(watched.totals.counted("d", &[]), Some(5.0), "it is of the same scrape");
}

#[test]
fn a_target_that_is_not_scraped_any_more_is_in_doubt_although_it_is_still_shown() {
    let mut watched = Watched::default();
    watched.take(&[scraped("a", 1.0), sample("a", 5.0)]);
    let doubts: Vec<String> = (0..70).flat_map(|_| watched.take(&[scraped("a", 1.0), sample("a", 5.0)])).collect();
    assert!(doubts.first().is_some_and(|doubt| doubt.contains("the same sample for more than 5 min")), "{doubts:?}");
}

#[test]
fn a_target_that_was_scaled_away_is_let_go_and_what_it_counted_stays() {
    let mut watched = Watched::default();
    watched.take(&[sample("a", 0.0), sample("b", 0.0)]);
    watched.take(&[sample("a", 1.0), sample("b", 50.0)]);
    let doubts: Vec<Vec<String>> = (0..80).map(|_| watched.take(&[sample("a", 1.0)])).collect();
    assert!(!doubts[0].is_empty() && doubts[79].is_empty(), "{doubts:?}");
    assert_eq!((watched.counted(), watched.totals.targets.len()), (51.0, 1));
}

#[test]
fn an_answer_without_any_target_is_no_data_and_forgets_nothing() {
    let mut watched = Watched::default();
    watched.take(&[sample("a", 0.0)]);
    watched.take(&[sample("a", 7.0)]);
    for _ in 0..200 {
        assert!(watched.take(&[]).is_empty());
        assert_eq!(watched.totals.counted("c", &[]), None);
    }
    watched.take(&[sample("a", 9.0)]);
    assert_eq!(watched.counted(), 9.0);
}

#[test]
fn targets_without_end_are_not_kept_without_end() {
    let mut watched = Watched::default();
    let many = |from: usize| (from..from + 60_000).map(|at| sample(&format!("t{at}"), 1.0)).collect::<Vec<_>>();
    assert!(watched.take(&many(0)).is_empty());
    let doubts = watched.take(&many(60_000));
    assert!(doubts.iter().any(|doubt| doubt.contains("is not read")), "{}", doubts.len());
    assert_eq!(watched.totals.targets.len(), MOST_SERIES);
}

#[test]
fn after_the_guards_clock_was_set_back_a_missing_target_is_still_missed() {
    let mut watched = Watched { now_ms: 3_600_000, ..Watched::default() };
    watched.take(&[sample("a", 0.0), sample("b", 0.0)]);
    watched.now_ms = 0;
    assert_eq!(watched.take(&[sample("a", 1.0)]), ["b is missing"]);
    let doubts: Vec<Vec<String>> = (0..80).map(|_| watched.take(&[sample("a", 1.0)])).collect();
    assert!(doubts[79].is_empty(), "and let go in the end");
}
