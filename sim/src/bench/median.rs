//! Medians of whole reports: runs of one bench give reports of one shape, and each figure of the
//! result is the median of that figure.

use serde_json::Value;

/// The median of each figure. Of an even number it is the lower one, so that it is a value that
/// was measured. What is no figure is as in the first; lists are as long as the shortest.
pub(crate) fn median(reports: &[Value]) -> Value {
    let Some(first) = reports.first() else { return Value::Null };
    match first {
        Value::Number(_) => {
            let mut figures: Vec<&Value> = reports.iter().filter(|one| one.is_number()).collect();
            let number = |value: &Value| value.as_f64().unwrap_or_default();
            figures.sort_by(|a, b| number(a).total_cmp(&number(b)));
            figures[(figures.len() - 1) / 2].clone()
        }
        Value::Array(items) => {
            let lists: Vec<&Vec<Value>> = reports.iter().filter_map(Value::as_array).collect();
            let shortest = lists.iter().map(|list| list.len()).min().unwrap_or(items.len());
            let column =
                |at: usize| -> Vec<Value> { lists.iter().map(|l| l[at].clone()).collect() };
            (0..shortest).map(|at| median(&column(at))).collect()
        }
        Value::Object(fields) => {
            let of = |name: &String| -> Vec<Value> {
                reports.iter().filter_map(|one| one.get(name)).cloned().collect()
            };
            fields.keys().map(|name| (name.clone(), median(&of(name)))).collect()
        }
        Value::Null | Value::Bool(_) | Value::String(_) => first.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_figure_has_its_own_median() {
        let runs = [
            json!({"what": "a", "n": 3, "rows": [{"x": 1.5}, {"x": 9}], "none": null}),
            json!({"what": "a", "n": 1, "rows": [{"x": 0.5}, {"x": 7}], "none": 4}),
            json!({"what": "a", "n": 2, "rows": [{"x": 2.5}, {"x": 8}], "none": null}),
        ];
        let expected = json!({"what": "a", "n": 2, "rows": [{"x": 1.5}, {"x": 8}], "none": null});
        assert_eq!(median(&runs), expected);
        assert_eq!(median(&runs[..2])["n"], 1);
        assert_eq!(median(&[]), Value::Null);
    }
}
