//! Tables as cities come in: `.csv`, gzipped or not. Columns are found by name in the header; their
//! order is free, and others are passed over. A mistake is told with its file, line and column.

use crate::source::{SourceError, open};
use csv::{Reader, StringRecord};
use indicatif::ProgressBar;
use proto::Point;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An open table.
pub(crate) struct Table {
    path: PathBuf,
    header: StringRecord,
    rows: Reader<Box<dyn BufRead + Send>>,
}

/// One row, with what is needed to say where a mistake is.
pub(crate) struct Row<'a> {
    path: &'a Path,
    header: &'a StringRecord,
    record: &'a StringRecord,
}

impl Table {
    pub(crate) fn open(path: &Path, bar: &ProgressBar) -> Result<Self, SourceError> {
        let mut rows = Reader::from_reader(open(path, bar)?);
        let header = rows.headers().cloned();
        let header = header.map_err(|source| SourceError::Table { path: path.into(), source })?;
        Ok(Self { path: path.into(), header, rows })
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// The index of a column that must be there.
    pub(crate) fn column(&self, name: &str) -> Result<usize, SourceError> {
        let place = self.header.iter().position(|column| column == name);
        place.ok_or_else(|| SourceError::NoColumn { path: self.path.clone(), wanted: name.into() })
    }

    /// Makes something of every row, of which there must be one.
    pub(crate) fn collect<T>(
        mut self,
        mut make: impl FnMut(&Row<'_>) -> Result<T, SourceError>,
    ) -> Result<Vec<T>, SourceError> {
        let mut made = Vec::new();
        let mut record = StringRecord::new();
        let Self { path, header, rows } = &mut self;
        let broken = |source| SourceError::Table { path: path.clone(), source };
        while rows.read_record(&mut record).map_err(broken)? {
            made.push(make(&Row { path, header, record: &record })?);
        }
        if made.is_empty() {
            return Err(SourceError::Empty { path: self.path });
        }
        Ok(made)
    }
}

impl Row<'_> {
    pub(crate) fn text(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default().trim()
    }

    /// What is wrong with a field, as an error that says where it is.
    pub(crate) fn problem(&self, column: usize, problem: impl Into<String>) -> SourceError {
        SourceError::Field {
            path: self.path.into(),
            line: self.record.position().map_or(0, csv::Position::line),
            column: self.header.get(column).unwrap_or_default().into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn number<T: FromStr>(&self, column: usize) -> Result<T, SourceError> {
        let text = self.text(column);
        text.parse().map_err(|_| self.problem(column, format!("'{text}' is not a number")))
    }

    /// A number from 0 to a bound.
    pub(crate) fn amount(&self, column: usize, most: f64) -> Result<f64, SourceError> {
        let amount: f64 = self.number(column)?;
        if (0.0..=most).contains(&amount) {
            Ok(amount)
        } else {
            Err(self.problem(column, format!("{amount} must be 0 to {most}")))
        }
    }

    pub(crate) fn point(&self, (lat, lng): (usize, usize)) -> Result<Point, SourceError> {
        let (degrees_lat, degrees_lng) = (self.number(lat)?, self.number(lng)?);
        Point::from_degrees(degrees_lat, degrees_lng)
            .map_err(|error| self.problem(lat, error.to_string()))
    }

    /// Seconds since some fixed moment: a number, or a time of a calendar.
    pub(crate) fn moment(&self, column: usize) -> Result<f64, SourceError> {
        let text = self.text(column);
        if let Ok(seconds) = text.parse::<f64>()
            && seconds.is_finite()
        {
            return Ok(seconds);
        }
        calendar_s(text).ok_or_else(|| {
            self.problem(column, format!("'{text}' is not a time like 2013-11-18 16:00:00"))
        })
    }
}

/// Seconds from 1970 to `YYYY-MM-DD HH:MM:SS` in that calendar, without any time zone.
fn calendar_s(text: &str) -> Option<f64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let three = |text: &str, by: char| -> Option<[i32; 3]> {
        let numbers: Result<Vec<i32>, _> = text.splitn(3, by).map(str::parse).collect();
        numbers.ok()?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(time, ':')?);
    let fits = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..61).contains(&second);
    if !fits {
        return None;
    }
    // Days of the proleptic Gregorian calendar, years beginning in March (Hinnant's algorithm).
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
            - 719_468;
    Some(f64::from(days) * 86_400.0 + f64::from(hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_seconds_agree_with_known_moments() {
        for (text, seconds) in [
            ("1970-01-01 00:00:00", 0.0),
            ("2000-02-29 12:00:00", 951_825_600.0),
            ("2013-11-18T16:00:00", 1_384_790_400.0),
        ] {
            assert_eq!(calendar_s(text), Some(seconds), "{text}");
        }
        for text in ["", "2013-11-18", "2013-13-18 16:00:00", "2013-11-18 24:00:00", "a b"] {
            assert_eq!(calendar_s(text), None, "{text}");
        }
    }
}
