use std::collections::BTreeMap;

/// A metrics page.
pub struct Scrape {
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    pub fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect() }
    }

    /// The sum of all samples with this name and, among others, these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.select(name, labels).map(|sample| sample.value).sum()
    }

    fn select(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        let matches = move |sample: &&Sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(matches)
    }

    /// The books of the mirror with these labels, or of all.
    pub fn mirror_account(&self, labels: &[(&str, &str)]) -> MirrorAccount {
        let mut account =
            MirrorAccount { in_flight: self.sum("doppel_mirror_in_flight", labels) as u64, ..Default::default() };
        for sample in self.select("doppel_mirror_requests_total", labels) {
            let count = sample.value as u64;
            let outcome = sample.labels.get("outcome").map(String::as_str).unwrap_or_default();
            *account.outcome(outcome) += count;
            let reason = sample.labels.get("reason").map(String::as_str).unwrap_or_default();
            if count > 0 && !reason.is_empty() {
                *account.reasons.entry(format!("{outcome} {reason}")).or_default() += count;
            }
        }
        account
    }
}

/// `name{key="value",…} 1`. Our label values hold no quotes.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}')?;
    let labels = labels.split_terminator("\",").map(|label| {
        let (key, value) = label.split_once("=\"")?;
        Some((key.trim_start_matches(',').to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some(Sample { name: name.to_owned(), labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
}

/// What became of the requests that a mirror was meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorAccount {
    pub sampled_out: u64,
    pub skipped: u64,
    pub dropped: u64,
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    pub aborted: u64,
    pub in_flight: u64,
    /// By `outcome reason`.
    pub reasons: BTreeMap<String, u64>,
}

impl MirrorAccount {
    /// Every request with this mirror's filter is in exactly one of these.
    pub fn eligible(&self) -> u64 {
        self.sampled_out + self.skipped + self.dropped + self.started
    }

    /// How many copies came to their end.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.aborted
    }

    fn outcome(&mut self, name: &str) -> &mut u64 {
        match name {
            "sampled_out" => &mut self.sampled_out,
            "skipped" => &mut self.skipped,
            "dropped" => &mut self.dropped,
            "started" => &mut self.started,
            "completed" => &mut self.completed,
            "failed" => &mut self.failed,
            "aborted" => &mut self.aborted,
            other => panic!("outcome {other:?} is none of the contract's"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_and_summed() {
        let page = "# TYPE a counter\na{x=\"1\",y=\"p/q:80\"} 2\na{x=\"2\",y=\"p/q:80\"} 3\nb 4.5\n";
        let scrape = Scrape::parse(page);
        assert_eq!(scrape.sum("a", &[]), 5.0);
        assert_eq!(scrape.sum("a", &[("x", "2"), ("y", "p/q:80")]), 3.0);
        assert_eq!(scrape.sum("b", &[]), 4.5);
        assert_eq!(scrape.sum("c", &[]), 0.0);
    }
}
