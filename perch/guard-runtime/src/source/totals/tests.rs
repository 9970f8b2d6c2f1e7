use super::super::SCRAPED_AT;
use super::*;

const STEP_MS: u64 = 5_000;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A counter of `instance`, scraped as `job`.
fn of_job(job: &str, instance: &str, value: f64) -> Sample {
    Sample { name: "c".into(), labels: labels(&[("instance", instance), ("job", job)]), value }
}

fn sample(instance: &str, value: f64) -> Sample {
    of_job("x", instance, value)
}

/// The time of the scrape of `instance`.
fn scraped(instance: &str, seconds: f64) -> Sample {
    Sample { name: SCRAPED_AT.into(), ..sample(instance, seconds) }
}

fn other(instance: &str, value: f64) -> Sample {
    Sample { name: "d".into(), ..sample(instance, value) }
}

/// Totals, evaluated every five seconds.
#[derive(Default)]
struct Fixture {
    totals: CounterTotals,
    now_ms: u64,
}

impl Fixture {
    fn take(&mut self, samples: &[Sample]) -> Vec<String> {
        self.now_ms += STEP_MS;
        self.totals.update(self.now_ms, samples, |name| match name {
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
    let mut fixture = Fixture::default();
    for value in [100.0, 110.0, 5.0, 8.0] {
        assert!(fixture.take(&[sample("a", value)]).is_empty());
    }
    assert_eq!(fixture.counted(), 18.0);
}

#[test]
fn what_a_new_target_counted_before_is_not_ours() {
    let mut fixture = Fixture::default();
    fixture.take(&[sample("a", 1.0)]);
    fixture.take(&[sample("a", 2.0), sample("b", 5000.0)]);
    fixture.take(&[sample("b", 5001.0), sample("a", 2.0)]);
    assert_eq!(fixture.counted(), 2.0);
}

#[test]
fn what_is_not_a_count_is_left_out() {
    let mut fixture = Fixture::default();
    fixture.take(&[sample("a", 1.0)]);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -5.0] {
        fixture.take(&[sample("a", value), other("a", 1.0)]);
    }
    fixture.take(&[sample("a", 4.0)]);
    assert_eq!(fixture.counted(), 3.0);
}

#[test]
fn stored_it_goes_on() {
    let mut fixture = Fixture::default();
    fixture.take(&[sample("a", 1.0)]);
    fixture.totals = serde_json::from_str(&serde_json::to_string(&fixture.totals).unwrap()).unwrap();
    fixture.take(&[sample("a", 4.0)]);
    assert_eq!(fixture.counted(), 3.0);
}

#[test]
fn case_3_a_replica_that_is_a_little_behind_adds_nothing() {
    let mut fixture = Fixture::default();
    let mut gap_count = 0;
    for call in 0..20_u32 {
        let ahead = 100_000.0 + 5.0 * f64::from(call);
        let behind = if call % 2 == 1 { 10.0 } else { 0.0 };
        gap_count += fixture.take(&[sample("a", ahead - behind), other("a", 3.0)]).len();
    }
    assert_eq!(fixture.counted(), 90.0, "the count of the server that is ahead, from call 0 to 18");
    assert!(gap_count > 5, "and the evaluations between have data gaps");
}

#[test]
fn case_3_with_scrape_times_two_replicas_count_as_one_and_nothing_is_in_doubt() {
    let mut fixture = Fixture::default();
    for call in 0..20_u32 {
        // Each scrapes every ten seconds, three seconds apart; the address responds for them in turn.
        let now = f64::from(call) * 5.0;
        let phase = if call % 2 == 1 { 3.0 } else { 0.0 };
        let at = ((now - phase) / 10.0).floor() * 10.0 + phase;
        let value = 100_000.0 + at * 7.0;
        let data_gaps = fixture.take(&[scraped("a", 1_000.0 + at), sample("a", value)]);
        assert!(data_gaps.is_empty(), "{data_gaps:?}");
    }
    assert!((fixture.counted() - 90.0 * 7.0).abs() <= 7.0 * 7.0, "{}", fixture.counted());
}

#[test]
fn a_replica_that_stays_behind_is_believed_after_a_minute_and_gives_nothing_for_nothing() {
    let mut fixture = Fixture::default();
    fixture.take(&[scraped("a", 5_000.0), sample("a", 1_000.0)]);
    // The one whose clock was ahead is gone for good.
    let data_gaps: Vec<String> =
        (1..=14).flat_map(|call| fixture.take(&[scraped("a", f64::from(call)), sample("a", 900.0)])).collect();
    assert_eq!(data_gaps, ["a has only samples that are older than those already counted"]);
    fixture.take(&[scraped("a", 20.0), sample("a", 907.0)]);
    assert_eq!(fixture.counted(), 7.0);
}

#[test]
fn case_4_a_target_that_is_missing_keeps_its_count_and_is_in_doubt() {
    let mut fixture = Fixture::default();
    fixture.take(&[sample("a", 0.0), sample("b", 0.0)]);
    fixture.take(&[sample("a", 10.0), sample("b", 10_000.0)]);
    let data_gaps = fixture.take(&[sample("a", 20.0)]);
    assert_eq!((data_gaps, fixture.counted()), (vec!["b is missing".to_owned()], 10_020.0));
    assert!(fixture.take(&[sample("a", 30.0), sample("b", 10_005.0)]).is_empty());
    assert_eq!(fixture.counted(), 10_035.0);
}

#[test]
fn case_4_what_a_missing_target_counted_when_a_step_began_is_not_the_steps() {
    let mut fixture = Fixture::default();
    fixture.take(&[sample("a", 0.0), sample("b", 0.0)]);
    fixture.take(&[sample("a", 10.0)]);
    let before = fixture.counted();
    fixture.totals.begin_step(fixture.now_ms);
    fixture.take(&[sample("a", 11.0), sample("b", 10_000.0)]);
    fixture.take(&[sample("a", 12.0), sample("b", 10_003.0)]);
    assert_eq!(fixture.counted() - before, 2.0 + 3.0);
}

#[test]
fn case_7_and_a23_two_jobs_count_once_and_one_takes_over_from_the_other() {
    let mut fixture = Fixture::default();
    for value in [0.0, 1_000.0] {
        fixture.take(&[of_job("gateway", "a", value), of_job("gateway-again", "a", value)]);
    }
    assert_eq!(fixture.counted(), 1_000.0);
    fixture.take(&[of_job("gateway-again", "a", 1_400.0)]);
    assert_eq!(fixture.counted(), 1_000.0, "it may be another program under the same name: counting begins there");
    fixture.take(&[of_job("gateway-again", "a", 1_450.0), of_job("gateway", "a", 1_450.0)]);
    assert_eq!(fixture.counted(), 1_050.0);
}

#[test]
fn of_a_federated_server_the_targets_are_those_that_it_scrapes() {
    let mut fixture = Fixture::default();
    let of = |inner: &str, value: f64| Sample {
        labels: labels(&[("instance", "prometheus:9090"), ("exported_instance", inner), ("exported_job", "gateway")]),
        ..sample("", value)
    };
    fixture.take(&[of("a", 0.0), of("b", 0.0)]);
    fixture.take(&[of("a", 10.0), of("b", 20.0)]);
    assert_eq!(fixture.counted(), 30.0);
}

#[test]
fn a_label_of_ours_that_the_scrape_renamed_is_found() {
    let mut fixture = Fixture::default();
    let with = |pairs: &[(&str, &str)], value: f64| Sample { labels: labels(pairs), ..sample("", value) };
    for value in [0.0, 5.0] {
        let own = with(&[("instance", "a"), ("source", "kubernetes"), ("exported_source", "rule")], value);
        let without = Sample { name: "d".into(), ..with(&[("instance", "a"), ("source", "kubernetes")], value) };
        assert!(fixture.take(&[own, without]).is_empty());
    }
    assert_eq!(fixture.totals.counted("c", &[("source", "rule")]), Some(5.0));
    assert_eq!(fixture.totals.counted("c", &[("source", "kubernetes")]), None);
    assert_eq!(fixture.totals.counted("d", &[]), Some(5.0), "it is of the same scrape");
}

#[test]
fn a_target_that_is_not_scraped_any_more_is_in_doubt_although_it_is_still_shown() {
    let mut fixture = Fixture::default();
    fixture.take(&[scraped("a", 1.0), sample("a", 5.0)]);
    let data_gaps: Vec<String> = (0..70).flat_map(|_| fixture.take(&[scraped("a", 1.0), sample("a", 5.0)])).collect();
    assert!(
        data_gaps.first().is_some_and(|data_gap| data_gap.contains("had the same sample for more than 5 min")),
        "{data_gaps:?}"
    );
}

#[test]
fn a_target_that_was_scaled_away_is_let_go_and_what_it_counted_stays() {
    let mut fixture = Fixture::default();
    fixture.take(&[sample("a", 0.0), sample("b", 0.0)]);
    fixture.take(&[sample("a", 1.0), sample("b", 50.0)]);
    let data_gaps: Vec<Vec<String>> = (0..80).map(|_| fixture.take(&[sample("a", 1.0)])).collect();
    assert!(!data_gaps[0].is_empty() && data_gaps[79].is_empty(), "{data_gaps:?}");
    assert_eq!((fixture.counted(), fixture.totals.targets.len()), (51.0, 1));
}

#[test]
fn a_reading_without_any_target_is_no_data_and_forgets_nothing() {
    let mut fixture = Fixture::default();
    fixture.take(&[sample("a", 0.0)]);
    fixture.take(&[sample("a", 7.0)]);
    for _ in 0..200 {
        assert!(fixture.take(&[]).is_empty());
        assert_eq!(fixture.totals.counted("c", &[]), None);
    }
    fixture.take(&[sample("a", 9.0)]);
    assert_eq!(fixture.counted(), 9.0);
}

#[test]
fn targets_without_end_are_not_kept_without_end() {
    let mut fixture = Fixture::default();
    let many = |from: usize| (from..from + 60_000).map(|at| sample(&format!("t{at}"), 1.0)).collect::<Vec<_>>();
    assert!(fixture.take(&many(0)).is_empty());
    let data_gaps = fixture.take(&many(60_000));
    assert!(data_gaps.iter().any(|data_gap| data_gap.contains("is not counted")), "{}", data_gaps.len());
    assert_eq!(fixture.totals.targets.len(), MAX_SERIES);
}

#[test]
fn after_the_guards_clock_was_set_back_a_missing_target_is_still_missed() {
    let mut fixture = Fixture { now_ms: 3_600_000, ..Fixture::default() };
    fixture.take(&[sample("a", 0.0), sample("b", 0.0)]);
    fixture.now_ms = 0;
    assert_eq!(fixture.take(&[sample("a", 1.0)]), ["b is missing"]);
    let data_gaps: Vec<Vec<String>> = (0..80).map(|_| fixture.take(&[sample("a", 1.0)])).collect();
    assert!(data_gaps[79].is_empty(), "and let go in the end");
}
