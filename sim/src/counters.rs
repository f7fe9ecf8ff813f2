//! The nodes' own counters, read from `/metrics` in Prometheus' text format. They are no evidence
//! for the judge, but some figures (refused Holds) are known to the nodes alone.
//!
//! A restarted node counts from zero again, so the killed one is read just before its end and both
//! readings are added.

use std::collections::BTreeMap;

/// Series and their values, summed over nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters(BTreeMap<String, f64>);

impl Counters {
    /// Reads one node's text. Lines that are no sample are left out: comments, and what a newer
    /// node may add.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            // Label values of ours have no spaces, so the value is what follows the last one.
            let (series, value) = line.trim().rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// Adds another reading.
    pub fn add(&mut self, other: &Self) {
        for (series, value) in &other.0 {
            *self.0.entry(series.clone()).or_default() += value;
        }
    }

    /// The sum over all label values of a metric; nothing if no node has it.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let mut series = self.of(name).peekable();
        series.peek()?;
        Some(series.map(|(_, value)| value).sum())
    }

    /// A metric's value for one label value, summed over its other labels.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        let pair = format!("{label}=\"{value}\"");
        let mut series = self.of(name).filter(|(series, _)| series.contains(&pair)).peekable();
        series.peek()?;
        Some(series.map(|(_, value)| value).sum())
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let rest = series.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with('{')).then_some((rest, *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_over_labels_and_nodes() {
        let text = "# TYPE hansom_pings counter\nhansom_pings_total{fate=\"applied\"} 7\n\
            hansom_pings_total{fate=\"stale\"} 2\nhansom_ready_bool 1\nhansom_pings_total_x 9\n# EOF\n";
        let mut counters = Counters::parse(text);
        counters.add(&Counters::parse(text));
        assert_eq!(counters.sum("hansom_pings_total"), Some(18.0));
        assert_eq!(counters.labelled("hansom_pings_total", "fate", "stale"), Some(4.0));
        assert_eq!(counters.sum("hansom_ready_bool"), Some(2.0));
        assert_eq!(counters.sum("hansom_none"), None);
    }
}
