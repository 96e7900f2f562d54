//! Reads markup back strictly, as XML: what a test looks at is what a reader gets.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::HashMap;

#[derive(Debug, Default)]
pub struct Element {
    name: String,
    attributes: HashMap<String, String>,
    /// Text directly within, unescaped.
    pub text: String,
}

impl Element {
    /// Whether it is of this name and among its classes is this one.
    pub fn is(&self, name: &str, class: &str) -> bool {
        let classes = self.attributes.get("class").map_or("", String::as_str);
        self.name == name && classes.split(' ').any(|one| one == class)
    }

    pub fn number(&self, attribute: &str) -> f64 {
        self.attributes[attribute].parse().unwrap()
    }
}

fn open(start: &BytesStart) -> Element {
    let name = start.name().as_ref().to_owned();
    let attributes = start.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        let value = quick_xml::escape::unescape(&attribute.value).unwrap().into_owned();
        (attribute.key.as_ref().to_owned(), value)
    });
    Element { name, attributes: attributes.collect(), text: String::new() }
}

/// All elements. Panics if the markup is not well-formed.
pub fn elements(markup: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(markup);
    let (mut all, mut inside) = (Vec::<Element>::new(), Vec::new());
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error} in {markup}")) {
            Event::Start(start) => {
                inside.push(all.len());
                all.push(open(&start));
            }
            Event::Empty(start) => all.push(open(&start)),
            Event::End(_) => _ = inside.pop(),
            Event::Text(text) => {
                if let Some(at) = inside.last() {
                    all[*at].text.push_str(&quick_xml::escape::unescape(&text).unwrap());
                }
            }
            Event::GeneralRef(name) => {
                let name = format!("&{};", &*name);
                if let Some(at) = inside.last() {
                    all[*at].text.push_str(&quick_xml::escape::unescape(&name).unwrap());
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(inside.is_empty(), "elements left open in {markup}");
    all
}
