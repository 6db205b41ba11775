//! Figures beside their targets, printed at the end.

#[derive(Debug, Default)]
pub struct Verdicts(Vec<Verdict>);

#[derive(Debug)]
struct Verdict {
    what: String,
    figure: f64,
    most: f64,
    unit: &'static str,
}

impl Verdicts {
    /// A figure that should be `most` at most.
    pub fn at_most(&mut self, what: &str, figure: f64, most: f64, unit: &'static str) {
        self.0.push(Verdict { what: what.to_owned(), figure, most, unit });
    }

    pub fn print(&self) {
        println!("\nfigures");
        for Verdict { what, figure, most, unit } in &self.0 {
            let verdict = if figure <= most { "met" } else { "MISSED" };
            println!("  {what:58} {figure:>8.2} {unit:2}  target at most {most} {unit}: {verdict}");
        }
    }
}

/// The middle of the values, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
