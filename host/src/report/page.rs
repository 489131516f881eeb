//! A page of HTML that needs nothing else: headings, facts, tables, pictures, all text escaped.

use super::plot::digits;
use ndarray::ArrayView2;
use serde_json::Value;
use std::fmt::{Display, Write};

/// Arrays are shown whole up to so many values; `ohmrig export` has all of any.
const SHOWN: usize = 4096;

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page {
    html: String,
}

impl Page {
    fn put(&mut self, html: impl Display) {
        // Writing to a string doesn't fail.
        let _ = writeln!(self.html, "{html}");
    }

    /// A heading, 1 to 4.
    pub(super) fn heading(&mut self, level: u8, text: &str) {
        self.put(format_args!("<h{level}>{}</h{level}>", escape(text)));
    }

    /// The heading that a measurement is linked by.
    pub(super) fn anchor(&mut self, id: &str, text: &str) {
        self.put(format_args!("<h2 id=\"{}\">{}</h2>", escape(id), escape(text)));
    }

    /// A paragraph.
    pub(super) fn say(&mut self, text: impl Display) {
        self.put(format_args!("<p>{}</p>", escape(&text.to_string())));
    }

    /// Something that must not be overlooked.
    pub(super) fn banner(&mut self, class: &str, text: &str) {
        self.put(format_args!("<div class=\"banner {class}\">{}</div>", escape(text)));
    }

    /// Names and values, one pair a line.
    pub(super) fn facts(&mut self, facts: &[(String, String)]) {
        self.put("<table class=\"facts\">");
        for (name, value) in facts {
            self.put(format_args!("<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value)));
        }
        self.put("</table>");
    }

    /// A table with a head.
    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.put("<table><thead><tr>");
        for name in head {
            self.put(format_args!("<th>{}</th>", escape(name)));
        }
        self.put("</tr></thead>");
        for row in rows {
            let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            self.put(format_args!("<tr>{cells}</tr>"));
        }
        self.put("</table>");
    }

    /// A row of links.
    pub(super) fn links(&mut self, links: &[(String, String)]) {
        let links: Vec<String> = links
            .iter()
            .map(|(id, text)| format!("<a href=\"#{}\">{}</a>", escape(id), escape(text)))
            .collect();
        self.put(format_args!("<nav>{}</nav>", links.join(" · ")));
    }

    /// A picture, as SVG.
    pub(super) fn picture(&mut self, svg: &str) {
        self.put(format_args!("<figure>{svg}</figure>"));
    }

    /// An array as a table behind a fold, in units of `scale`.
    pub(super) fn array(&mut self, name: &str, unit: &str, scale: f64, array: ArrayView2<'_, f64>) {
        let (rows, columns) = array.dim();
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        self.put(format_args!(
            "<details><summary>{}{} ({rows} × {columns})</summary>",
            escape(name),
            escape(&unit)
        ));
        let shown = (SHOWN / columns.max(1)).clamp(1, rows.max(1));
        self.put("<table class=\"numbers\"><thead><tr><th></th>");
        let head: String = (0..columns).map(|column| format!("<th>{column}</th>")).collect();
        self.put(format_args!("{head}</tr></thead>"));
        for (number, row) in array.rows().into_iter().take(shown).enumerate() {
            let cells: String =
                row.iter().map(|value| format!("<td>{}</td>", digits(value / scale))).collect();
            self.put(format_args!("<tr><th>{number}</th>{cells}</tr>"));
        }
        self.put("</table>");
        if shown < rows {
            self.say(format_args!("{} more rows: `ohmrig export` has all of them.", rows - shown));
        }
        self.put("</details>");
    }

    /// Opens a fold.
    pub(super) fn fold(&mut self, summary: &str) {
        self.put(format_args!("<details><summary>{}</summary>", escape(summary)));
    }

    /// Closes the fold.
    pub(super) fn unfold(&mut self) {
        self.put("</details>");
    }

    /// The whole document.
    #[must_use]
    pub(super) fn finish(self, title: &str) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{}</title><style>{STYLE}</style></head><body>\n{}</body></html>\n",
            escape(title),
            self.html
        )
    }
}

/// JSON as facts: nested names with dots, arrays of numbers in brackets.
#[must_use]
pub(super) fn facts_of(value: &Value) -> Vec<(String, String)> {
    fn walk(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    walk(&name, value, into);
                }
            }
            Value::Null if prefix.is_empty() => {}
            Value::Null => into.push((prefix.to_owned(), "–".to_owned())),
            Value::String(text) => into.push((prefix.to_owned(), text.clone())),
            Value::Number(number) if number.is_f64() => {
                into.push((prefix.to_owned(), number.as_f64().map(digits).unwrap_or_default()));
            }
            other => into.push((prefix.to_owned(), other.to_string())),
        }
    }
    let mut facts = Vec::new();
    walk("", value, &mut facts);
    facts
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .6rem; } h2 { margin-top: 2.2rem; border-top: 2px solid #1f5aa0; padding-top: .6rem; }
h3 { margin: 1.2rem 0 .4rem; } figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
.banner { font-size: 1.7rem; font-weight: 700; padding: .7rem 1rem; margin: 0 0 1.2rem; border-radius: 4px; color: #fff; }
.emulated { background: #a84300; } .real { background: #1d6b3a; } .open { background: #8a6d00; font-size: 1.05rem; }
table { border-collapse: collapse; margin: .4rem 0 .8rem; font-size: 13px; } th, td { padding: .15rem .55rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
.facts th { font-weight: 600; color: #444; white-space: nowrap; } .facts td { word-break: break-word; }
.numbers { display: block; overflow-x: auto; } .numbers td, .numbers th { text-align: right; font-variant-numeric: tabular-nums; padding: .05rem .35rem; }
details { margin: .3rem 0; } summary { cursor: pointer; color: #1f5aa0; } nav { margin: .8rem 0; line-height: 1.8; }
@media print { .banner { color: #000; border: 3px solid; } }
";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_never_becomes_markup() {
        let mut page = Page::default();
        page.say("<script>alert(1)</script> & \"x\"");
        let html = page.finish("a<b");
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;") && html.contains("a&lt;b"));
    }

    #[test]
    fn nested_settings_become_dotted_names() {
        let facts = facts_of(&json!({"a": {"b": 1.25e-7, "c": null}, "d": "x", "e": [1, 2]}));
        let names: Vec<&str> = facts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.b", "a.c", "d", "e"]);
        assert_eq!((facts[0].1.as_str(), facts[3].1.as_str()), ("1.250e-7", "[1,2]"));
    }
}
