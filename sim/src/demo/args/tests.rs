//! What lines of flags come to.

use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn parse(line: &str) -> Result<Settings, DemoError> {
    let words = std::iter::once("demo").chain(line.split_whitespace());
    Cli::try_parse_from(words).expect("clap takes it").args.check()
}

fn refusal(line: &str) -> String {
    let error = parse(line).expect_err("a usage error");
    assert!(error.is_usage(), "{error}");
    error.to_string()
}

#[test]
fn without_flags_there_is_a_town() {
    let settings = parse("").unwrap();
    assert_eq!(settings.city.requests.len(), TOWN_BOOKINGS);
    assert_eq!(settings.city.fleet.len(), TOWN_FLEET);
    assert!(settings.city.last_request() <= CityMs(1_000_000));
    let orders = Orders { kill: true, wipe: true, kills: 0, kill_all: false };
    assert_eq!((settings.nodes, settings.orders), (3, orders));
    assert!(settings.steady.is_none());
}

#[test]
fn what_is_done_to_the_nodes_follows_the_flags() {
    let orders = |line: &str| parse(line).unwrap().orders;
    assert_eq!(orders("--no-kill"), Orders::default());
    assert_eq!(orders("--no-wipe"), Orders { kill: true, ..Orders::default() });
    assert_eq!(orders("--nodes 2"), Orders { kill: true, ..Orders::default() });
    let all = orders("--kills 30 --nodes 5 --kill-all");
    assert_eq!(all, Orders { kills: 30, kill_all: true, ..Orders::default() });
    assert!(refusal("--kills 3 --nodes 2").contains("--nodes 3"));
}

#[test]
fn a_steady_load_has_as_many_cars_as_riders() {
    let settings = parse("--kills 1").unwrap();
    let load = settings.steady.unwrap().load;
    assert_eq!(load, Steady { riders: 300, operations: 500.0 });
    assert_eq!(settings.city.fleet.len(), 300);
    let settings = parse("--riders 20 --operations 50 --fleet-size 30 --seconds 9").unwrap();
    let open = settings.steady.unwrap();
    assert_eq!((open.load.riders, open.lasts.as_secs()), (20, 9));
    assert_eq!(settings.city.fleet.len(), 30);
    assert!(refusal("--riders 0").contains("--riders"));
}

#[test]
fn flags_that_do_not_fit_are_refused_by_name() {
    for (line, word) in [
        ("--speed 0", "--speed"),
        ("--speed nan", "--speed"),
        ("--acceptance 1.5", "--acceptance"),
        ("--patience-s 0", "--patience-s"),
        ("--fleet-size 0", "--fleet-size"),
        ("--fleet cars.csv", "--demand"),
        ("--data /nowhere", "requests_full_hour.csv.gz"),
    ] {
        let said = refusal(line);
        assert!(said.contains(word), "{line}: {said}");
    }
}

#[test]
fn streets_alone_get_riders_and_policies_leave_the_nodes_alone() {
    let settings = parse("--roads --policies nearest,ours --fleet-size 7 --bookings 9").unwrap();
    assert!(settings.city.roads.roads().is_some());
    assert_eq!((settings.city.fleet.len(), settings.city.requests.len()), (7, 9));
    assert_eq!(
        (settings.orders, settings.policies),
        (Orders::default(), vec![Policy::Nearest, Policy::Ours])
    );
    assert!(refusal("--roads /nowhere.roads").contains("/nowhere.roads"));
}

#[test]
fn a_directory_in_the_layout_is_a_city() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "requests_full_hour.csv",
        "pickup_time,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon\n\
         2013-11-18 16:00:00,40.75,-73.98,40.76,-73.97\n2013-11-18 16:01:00,40.75,-73.98,40.76,-73.97\n",
    );
    write("taxis_full_hour.csv", "idx,lat,lon\n0,40.75,-73.98\n1,40.76,-73.97\n");
    write("nodes.csv", "node,lat,lon\n0,40.75,-73.98\n1,40.76,-73.97\n");
    write("edges_16h_17h.csv", "from,to,length_km,travel_time_s\n0,1,1.4,300\n1,0,1.4,300\n");
    write(
        "our_python_baselines.csv",
        "fleet,policy,rate,wait_mean,wait_p95\n2,nearest,0.9,10,20\n",
    );
    let data = dir.path().display();
    let settings = parse(&format!("--data {data} --fleet-size 1 --seconds 1")).unwrap();
    let City { requests, fleet, roads, references, .. } = &settings.city;
    assert_eq!((requests.len(), fleet.len(), references.len()), (1, 1, 1));
    assert!(roads.roads().is_some());
    // Demand alone: cars at pickups, straight roads.
    let demand = dir.path().join("requests_full_hour.csv");
    let settings = parse(&format!("--demand {} --fleet-size 5", demand.display())).unwrap();
    assert_eq!(settings.city.fleet.len(), 5);
    assert!(settings.city.roads.roads().is_none());
    assert!(refusal(&format!("--demand {}", demand.display())).contains("--fleet-size"));
}
