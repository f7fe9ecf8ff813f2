//! OpenStreetMap as XML, by the `quick-xml` crate.

use super::{Element, Member, MemberKind, SourceError, Tags, open};
use indicatif::ProgressBar;
use proto::Point;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use std::path::Path;

/// The element that is open, with what has been read of its inside.
#[derive(Debug, Default)]
struct Open {
    kind: Kind,
    id: i64,
    at: Option<Point>,
    refs: Vec<i64>,
    members: Vec<(MemberKind, i64, String)>,
    tags: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    None,
    Node,
    Way,
    Relation,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "node" => Self::Node,
            "way" => Self::Way,
            "relation" => Self::Relation,
            _ => Self::None,
        }
    }
}

/// Hands every element to `each`. A node without a place on the globe is passed over.
pub(crate) fn read(
    path: &Path,
    bar: &ProgressBar,
    each: &mut dyn FnMut(Element<'_>),
) -> Result<(), SourceError> {
    let mut reader = quick_xml::Reader::from_reader(open(path, bar)?);
    let (mut buffer, mut open) = (Vec::new(), Open::default());
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        let step = match event {
            Ok(Event::Eof) => return Ok(()),
            Ok(Event::Start(start)) => open.enter(&start),
            Ok(Event::Empty(start)) => open.enter(&start).map(|()| {
                if Kind::of(start.name().0) != Kind::None {
                    open.leave(each);
                }
            }),
            Ok(Event::End(end)) => {
                if Kind::of(end.name().0) != Kind::None {
                    open.leave(each);
                }
                Ok(())
            }
            Ok(
                Event::Text(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_),
            ) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        step.map_err(|problem| {
            let at = reader.buffer_position();
            SourceError::Xml { path: path.into(), at, problem }
        })?;
    }
}

impl Open {
    /// Takes in the start of an element, or what stands inside one.
    fn enter(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        let name = start.name();
        let attribute = |wanted: &str| -> Result<Option<String>, String> {
            let found = start.try_get_attribute(wanted).map_err(|error| error.to_string())?;
            let value = found.map(|found| found.normalized_value(XmlVersion::default()));
            Ok(value.transpose().map_err(|error| error.to_string())?.map(|text| text.into_owned()))
        };
        let id = |wanted: &str| -> Result<i64, String> {
            let text = attribute(wanted)?.ok_or_else(|| format!("{} lacks {wanted}", name.0))?;
            text.parse().map_err(|_| format!("{wanted}='{text}' is no id"))
        };
        let degrees = |wanted: &str| -> Result<Option<f64>, String> {
            Ok(attribute(wanted)?.and_then(|text| text.parse().ok()))
        };
        match name.0 {
            "node" | "way" | "relation" => {
                let at = match (degrees("lat")?, degrees("lon")?) {
                    (Some(lat), Some(lng)) => Point::from_degrees(lat, lng).ok(),
                    _ => None,
                };
                *self = Self { kind: Kind::of(name.0), id: id("id")?, at, ..Self::default() };
            }
            "tag" => {
                if let (Some(key), Some(value)) = (attribute("k")?, attribute("v")?) {
                    self.tags.push((key, value));
                }
            }
            "nd" => self.refs.push(id("ref")?),
            "member" => {
                let kind = match attribute("type")?.as_deref() {
                    Some("node") => MemberKind::Node,
                    Some("way") => MemberKind::Way,
                    _ => MemberKind::Relation,
                };
                self.members.push((kind, id("ref")?, attribute("role")?.unwrap_or_default()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Hands on the element that has ended.
    fn leave(&mut self, each: &mut dyn FnMut(Element<'_>)) {
        let done = std::mem::take(self);
        let tags = done.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let tags = Tags(tags);
        match (done.kind, done.at) {
            (Kind::Node, Some(at)) => each(Element::Node { id: done.id, at, tags }),
            (Kind::Node, None) | (Kind::None, _) => {}
            (Kind::Way, _) => each(Element::Way { id: done.id, refs: &done.refs, tags }),
            (Kind::Relation, _) => {
                let members: Vec<_> = done
                    .members
                    .iter()
                    .map(|(kind, id, role)| Member { kind: *kind, id: *id, role })
                    .collect();
                each(Element::Relation { members: &members, tags });
            }
        }
    }
}
