//! Each mistake that can be planted is found, by the seed that found it first, and by nothing but the
//! mistake: the same storm over sound nodes breaks no law. Only with the feature `plant`:
//!
//!     cargo test --workspace --features plant --test dst planted

use dst::mutants::{ALL, Mutant};
use dst::run::{Job, Outcome, run};
use dst::schedule::Schedule;
use dst::trace::Detail;

fn storm(mutant: &Mutant, plant: Option<&str>) -> Outcome {
    let schedule = Schedule::storm(mutant.found_by, &mutant.diet());
    let job = Job::storm(mutant.found_by, schedule, Detail::Story);
    run(&Job { plant: plant.map(Into::into), ..job }).outcome
}

#[test]
fn each_planted_mistake_is_found_and_its_storm_finds_nothing_without_it() {
    for mutant in &ALL {
        let (planted, sound) = (storm(mutant, Some(mutant.name)), storm(mutant, None));
        let laws: Vec<String> = planted.broken.iter().map(ToString::to_string).collect();
        println!("{}: {}", mutant.name, laws.first().map_or("", String::as_str));
        assert!(planted.is_bad(), "{} was not found by seed {}", mutant.name, mutant.found_by);
        assert_eq!(sound.broken, [], "seed {} of {} without it", mutant.found_by, mutant.name);
    }
}
