//! A report: one HTML file that opens anywhere and needs nothing else, with what each measurement says, in pictures and
//! the tables behind them. How a kind of measurement is shown is one file in `kinds`.

mod kinds;
mod page;
mod plot;

use crate::run_file::{Contents, Recorded, Session};
use page::{Page, facts_of};
use plot::Unit;

/// Renders a report of everything in a run file.
#[must_use]
pub fn render(contents: &Contents) -> String {
    let mut page = Page::default();
    let name = contents.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    head(&mut page, contents, &name);
    for recorded in &contents.measurements {
        let session = contents.sessions.iter().find(|session| session.id == recorded.session);
        measurement(&mut page, recorded, session);
    }
    page.finish(&format!("ohmrig report: {name}"))
}

fn head(page: &mut Page, contents: &Contents, name: &str) {
    if contents.is_emulated() {
        page.banner("emulated", "EMULATED: nothing in this report was measured on hardware");
    } else {
        page.banner("real", "MEASURED ON HARDWARE");
    }
    page.heading(1, &format!("Run {name}"));
    if let Some(session) = contents.sessions.first() {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known to the host".to_owned());
        let mut facts = vec![
            ("board".to_owned(), session.board.clone()),
            ("array".to_owned(), format!("{} rows × {} columns", session.size.0, session.size.1)),
        ];
        if session.emulated {
            facts.push(("profile".to_owned(), text(&session.profile)));
            facts.push(("seed".to_owned(), text(&session.seed)));
        }
        page.facts(&facts);
    }
    let rows: Vec<Vec<String>> = contents
        .sessions
        .iter()
        .map(|session| {
            vec![
                session.id.to_string(),
                utc(session.started_unix_s),
                format!("{} ({})", session.firmware, session.git),
                session.ohmrig.clone(),
            ]
        })
        .collect();
    page.fold(&format!("{} processes wrote to this file", rows.len()));
    page.table(&["process", "started", "firmware (git)", "ohmrig"], &rows);
    page.unfold();
    let links: Vec<(String, String)> = contents
        .measurements
        .iter()
        .map(|recorded| (anchor(recorded), format!("{} {}", recorded.id, recorded.kind)))
        .collect();
    page.links(&links);
}

fn anchor(recorded: &Recorded) -> String {
    format!("m{}", recorded.id)
}

fn measurement(page: &mut Page, recorded: &Recorded, session: Option<&Session>) {
    page.anchor(&anchor(recorded), &format!("{}. {}", recorded.id, recorded.kind));
    if !recorded.is_done() {
        let why = recorded.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        page.banner("open", &format!("NOT FINISHED ({}){why}", recorded.state));
    }
    kinds::show(recorded, page);
    page.fold("Settings and circumstances");
    let mut facts = facts_of(&recorded.settings);
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    fact("started", utc(recorded.started_unix_s));
    if let Some(ended) = recorded.ended_unix_s {
        fact("ended", utc(ended));
    }
    if let Some(kelvin) = recorded.temperature_k {
        fact("temperature", format!("{kelvin:.2} K ({:.2} °C)", kelvin - 273.15));
    }
    fact("calibration", recorded.calibration.clone().unwrap_or_else(|| "none".to_owned()));
    if let Some(session) = session {
        fact("firmware", format!("{} ({})", session.firmware, session.git));
        fact("board", session.array.clone());
    }
    fact("digest of settings and inputs", recorded.digest.clone());
    page.facts(&facts);
    page.unfold();
    page.fold("Results");
    page.facts(&facts_of(&recorded.value));
    page.unfold();
    for (name, array) in &recorded.arrays {
        let (unit, scale) = unit_of(name, array.iter().copied());
        page.array(name, &unit, scale, array.view());
    }
    if !recorded.pieces.is_empty() {
        page.fold(&format!("{} pieces", recorded.pieces.len()));
        for piece in &recorded.pieces {
            page.heading(4, &piece.name);
            page.facts(&facts_of(&piece.value));
            for (name, array) in &piece.arrays {
                let (unit, scale) = unit_of(name, array.iter().copied());
                page.array(name, &unit, scale, array.view());
            }
        }
        page.unfold();
    }
}

/// The unit that the end of an array's name tells, with a prefix that suits its values.
fn unit_of(name: &str, values: impl Iterator<Item = f64>) -> (String, f64) {
    let unit = match name.rsplit_once('_').map(|(_, unit)| unit) {
        Some("s") if name.starts_with("time") || name.starts_with("width") => "s",
        Some("s") => "S",
        Some("v") => "V",
        Some("a") => "A",
        Some("ohm" | "ohms") => "Ω",
        Some("k") => "K",
        _ => return (String::new(), 1.0),
    };
    let Unit { scale, name } = Unit::of(values, unit);
    (name, scale)
}

/// Date and time of day, UTC, from seconds since 1970 (days to dates: Hinnant, "chrono-compatible low-level date
/// algorithms", 2013).
pub(crate) fn utc(unix_s: f64) -> String {
    let seconds = unix_s as i64;
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0.0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400.0), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_767_225_599.9), "2025-12-31 23:59:59 UTC");
    }

    #[test]
    fn the_end_of_a_name_is_its_unit() {
        assert_eq!(unit_of("conductance_s", [4e-5].into_iter()), ("µS".to_owned(), 1e-6));
        assert_eq!(unit_of("time_s", [2.0].into_iter()), ("s".to_owned(), 1.0));
        assert_eq!(unit_of("pulses", [2.0].into_iter()), (String::new(), 1.0));
    }
}
