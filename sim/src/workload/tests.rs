//! Whole small cities against the fake.

use super::*;
use crate::checker::{Violation, judge};
use crate::counters::Counters;
use crate::fake::{Fake, Faults};
use crate::pace::CityMs;
use crate::readback::read_back;
use crate::report::{Harm, Report, Run, Sources};
use crate::synthetic::{self, Plan};
use node::clock::SystemClock;

/// Plays a small town against the fake and has it judged.
async fn played(faults: Faults, habits: Habits) -> Report {
    played_by(faults, habits, None).await
}

async fn played_by(faults: Faults, habits: Habits, steady: Option<Steady>) -> Report {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let plan = Plan { seed: 3, fleet: 12, bookings: 30, window: CityMs(240_000) };
    let city = synthetic::town(plan);
    let nodes = Doors::new(Fake::serve(3, faults, Arc::clone(&clock)).await);
    let history = Arc::new(History::begin(Arc::clone(&clock)));
    let tally = Arc::new(Tally::new(3));
    let workload = Workload::new(
        nodes,
        Arc::clone(&history),
        Arc::clone(&tally),
        Arc::clone(&clock),
        habits,
        plan.seed,
    )
    .unwrap()
    .steady(steady);
    let client = workload.client().clone();
    let people = workload.register(&city).await.unwrap();
    let mut run = Run {
        city: city.name.clone(),
        seed: plan.seed,
        speed: habits.speed,
        nodes: 3,
        fleet: plan.fleet,
        requests: plan.bookings,
        ping_period_ms: 250,
        assumption: city.roads.assumption(),
        split_cells: vec![],
        planted: None,
    };
    let open = workload.open(city, &people).await.unwrap();
    let (close, closing) = watch::channel(false);
    let ended = tokio::join!(open.run(closing), async {
        if steady.is_some() {
            // Longer than the riders take to arrive.
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
        close.send_replace(true);
    });
    let ended = ended.0;
    run.requests = usize::try_from(ended.rides).unwrap();
    let seen = history.read();
    let at_end = read_back(&client, &seen, plan.seed).await;
    let counters = Counters::parse(&client.text_of(0, "/metrics").await.unwrap());
    let violations = judge(&seen, &at_end);
    Report::of(Sources {
        run,
        ended,
        harm: Harm::default(),
        habits,
        tally: &tally,
        seen: &seen,
        at_end: &at_end,
        counters: &counters,
        references: vec![],
        violations,
    })
}

/// Four city minutes of demand in a third of a second, and nobody in a hurry.
fn fast() -> Habits {
    Habits { patience_ms: 4_800_000, ..Habits::usual(800.0) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_city_is_carried_and_acquitted_although_every_fifth_answer_is_lost() {
    let faults = Faults { lose_answer_every: Some(5), ..Faults::default() };
    let report = played(faults, Habits { acceptance: 0.8, ..fast() }).await;
    assert!(report.green, "{}", report.table());
    assert_eq!(report.service.by_state["COMPLETED"], 30, "{}", report.table());
    assert!(report.traffic.retries > 10, "{}", report.table());
    assert_eq!(report.service.wait_s.n, 30);
    assert_eq!(report.refused_holds_per_assignment, Some(0.1));
    assert!(report.traffic.hops_stable[1] > 100, "{}", report.table());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["green"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_frees_drivers_under_way_is_found_guilty() {
    let faults = Faults { free_drivers_under_way: true, ..Faults::default() };
    let report = played(faults, fast()).await;
    let two = |v: &Violation| matches!(v, Violation::TwoTrips { .. });
    assert!(!report.green && report.violations.iter().any(two), "{}", report.table());
    assert!(report.table().contains("VIOLATION two trips at once: driver drv_"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_forgets_bookings_is_found_guilty() {
    let faults = Faults { forget_booking_every: Some(4), ..Faults::default() };
    let report = played(faults, fast()).await;
    let lost = |v: &Violation| matches!(v, Violation::Lost { .. });
    assert!(!report.green && report.violations.iter().any(lost), "{}", report.table());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn riders_nobody_comes_for_call_off_in_time() {
    // Nobody ever says yes, and patience runs out after half a second of wall time.
    let habits = Habits { acceptance: 0.0, patience_ms: 400_000, ..fast() };
    let report = played(Faults::default(), habits).await;
    assert_eq!(report.service.by_state["CANCELLED"], 30, "{}", report.table());
    assert!(report.violations.is_empty(), "{}", report.table());
    assert!(!report.green && report.void.is_some(), "a run without a ride proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn riders_of_a_steady_load_come_again_until_the_city_closes() {
    let steady = Steady { riders: 6, operations: 200.0 };
    let report = played_by(Faults::default(), fast(), Some(steady)).await;
    assert!(report.green, "{}", report.table());
    assert!(report.ended.rides > 6, "{}", report.table());
    assert_eq!(report.service.by_state["COMPLETED"], report.run.requests);
    assert!(report.ended.open_ms >= 7_000 && report.ended.operations > 100, "{report:?}");
}

#[test]
fn a_phone_reports_at_least_once_a_second_and_a_fleet_is_not_a_flood() {
    let period = |speed, fleet| Habits::usual(speed).ping_period(fleet).as_millis();
    assert_eq!(period(1.0, 200), 1_000);
    assert_eq!(period(10.0, 200), 400);
    assert_eq!(period(60.0, 200), 250);
    assert_eq!(period(30.0, 4_500), 900);
    assert_eq!(period(30.0, 20_000), 1_000);
}
