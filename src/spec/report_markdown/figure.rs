//! Figures and names as a reader takes them in.

/// A name as code. Nothing inside is markup, a mention or a cell border.
pub(super) fn code(name: &str) -> String {
    let inner: String = name.chars().map(|c| if c.is_control() || c == '`' { '\'' } else { c }).collect();
    format!("`{}`", inner.replace('|', "\\|"))
}

/// A sentence that may quote names of an upload: no HTML, no cell border, one line.
pub(super) fn text(sentence: &str) -> String {
    let line: String = sentence.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|")
        .replace('@', "@\u{200b}")
        .replace("](", "]\u{200b}(")
}

pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three significant digits with a decimal prefix: `1.09 MB`, `41.3 M`.
pub(super) fn quantity(value: f64, unit: &str) -> String {
    let (scaled, prefix) = match value {
        v if v >= 999.5e9 => (v / 1e12, "T"),
        v if v >= 999.5e6 => (v / 1e9, "G"),
        v if v >= 999.5e3 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => return format!("{v} {unit}").trim_end().to_owned(),
    };
    format!("{} {prefix}{unit}", significant(scaled))
}

/// Three significant digits, plain where they read well.
pub(super) fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v >= 99.95 => thousands_rounded(value),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        v if v >= 0.000_995 => {
            let places = 2 - v.log10().floor() as i32;
            let fixed = format!("{value:.*}", usize::try_from(places).unwrap_or(3));
            fixed.trim_end_matches('0').to_owned()
        }
        _ => format!("{value:.2e}"),
    }
}

fn thousands_rounded(value: f64) -> String {
    if value.is_finite() && value >= 0.0 { thousands(value.round() as u64) } else { value.to_string() }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

pub(super) fn points(difference: f64) -> String {
    format!("{} points", signed(difference * 100.0, 2))
}

pub(super) fn signed(difference: f64, places: usize) -> String {
    let figure = format!("{difference:+.places$}");
    // −0.00 and +0.00 are the same to the reader.
    if figure.trim_start_matches(['+', '-', '0', '.']).is_empty() {
        return format!("±{}", figure.trim_start_matches(['+', '-']));
    }
    figure.replace('-', "−")
}

/// The candidate's share of the baseline.
pub(super) fn ratio(before: f64, after: f64) -> Option<String> {
    (before > 0.0).then(|| format!("× {:.2}", after / before))
}
