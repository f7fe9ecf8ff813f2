//! Which cells are split, and by what.

use super::ConfigError;
use super::args::items;
use h3o::{CellIndex, Resolution};
use membership::SplitTable;
use membership::split::plan::Rules;
use std::time::Duration;

/// Split cells, as flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Split cells")]
pub struct SplitsArgs {
    /// H3 cells of resolution 6 whose load is spread over their resolution 7 children, and cells of
    /// resolution 7 in those, over their resolution 8 children: to begin with, and never merged.
    /// Equal on all nodes.
    #[arg(long, env = "HANSOM_SPLIT_CELLS", default_value = "", value_name = "CELL,...")]
    pub split_cells: String,

    /// Whether cells are split and merged by what they carry, besides. Equal on all nodes.
    #[arg(long, env = "HANSOM_ADAPTIVE_CELLS", default_value = "on", value_name = "on|off")]
    pub adaptive_cells: Switch,

    /// What a cell may carry in any case before it is split: pings a second, where a search that
    /// looks into it counts as some. It is merged when it carries less than half.
    #[arg(long, env = "HANSOM_SPLIT_ABOVE", default_value_t = Rules::default().floor, value_name = "N")]
    pub split_above: u64,

    /// How often it is looked at what cells carry, in milliseconds.
    #[arg(long, env = "HANSOM_SPLIT_EVERY_MS", default_value_t = 5_000, value_name = "MS")]
    pub split_every_ms: u64,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// How cells are split by what they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adaptive {
    /// By which rules.
    pub rules: Rules,
    /// How often it is looked.
    pub every: Duration,
}

impl SplitsArgs {
    /// Checks the cells and the numbers.
    pub(super) fn into_splits(self) -> Result<(SplitTable, Option<Adaptive>), ConfigError> {
        let Self { split_cells, adaptive_cells, split_above, split_every_ms } = self;
        if split_above == 0 {
            return Err(ConfigError::new("--split-above must be 1 or more"));
        }
        if !(100..=3_600_000).contains(&split_every_ms) {
            return Err(ConfigError::new("--split-every-ms must be 100 to 3600000, an hour"));
        }
        let rules = Rules { floor: split_above, ..Rules::default() };
        let adaptive = Adaptive { rules, every: Duration::from_millis(split_every_ms) };
        Ok((parse(&split_cells)?, (adaptive_cells == Switch::On).then_some(adaptive)))
    }
}

fn parse(list: &str) -> Result<SplitTable, ConfigError> {
    let splittable =
        |cell: &CellIndex| matches!(cell.resolution(), Resolution::Six | Resolution::Seven);
    let cells = items(list)
        .map(|item| {
            item.parse().ok().filter(splittable).ok_or_else(|| {
                ConfigError::new(format!(
                    "--split-cells: `{item}` is no H3 cell of resolution 6 or 7, as in 862a1072fffffff"
                ))
            })
        })
        .collect::<Result<Vec<CellIndex>, _>>()?;
    SplitTable::new(cells).map_err(|error| ConfigError::new(format!("--split-cells: {error}")))
}
