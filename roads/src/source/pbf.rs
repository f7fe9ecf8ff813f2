//! OpenStreetMap as PBF, by the `osmpbf` crate.

use super::{Element, Member, MemberKind, SourceError, Tags, open};
use indicatif::ProgressBar;
use osmpbf::{ElementReader, RelMemberType};
use proto::Point;
use std::path::Path;

/// Hands every element to `each`. An element whose text is no UTF-8, or which lies beyond the
/// globe, is passed over: it names no road that could be driven.
pub(crate) fn read(
    path: &Path,
    bar: &ProgressBar,
    each: &mut dyn FnMut(Element<'_>),
) -> Result<(), SourceError> {
    let reader = ElementReader::new(open(path, bar)?);
    let mut refs = Vec::new();
    let read = reader.for_each(|element| match element {
        osmpbf::Element::Node(node) => {
            if let Ok(at) = Point::from_e7(node.decimicro_lat(), node.decimicro_lon()) {
                each(Element::Node { id: node.id(), at, tags: Tags(node.tags().collect()) });
            }
        }
        osmpbf::Element::DenseNode(node) => {
            if let Ok(at) = Point::from_e7(node.decimicro_lat(), node.decimicro_lon()) {
                each(Element::Node { id: node.id(), at, tags: Tags(node.tags().collect()) });
            }
        }
        osmpbf::Element::Way(way) => {
            refs.clear();
            refs.extend(way.refs());
            each(Element::Way { id: way.id(), refs: &refs, tags: Tags(way.tags().collect()) });
        }
        osmpbf::Element::Relation(relation) => {
            let members: Vec<_> = relation
                .members()
                .filter_map(|member| {
                    let kind = match member.member_type {
                        RelMemberType::Node => MemberKind::Node,
                        RelMemberType::Way => MemberKind::Way,
                        RelMemberType::Relation => MemberKind::Relation,
                    };
                    Some(Member { kind, id: member.member_id, role: member.role().ok()? })
                })
                .collect();
            each(Element::Relation { members: &members, tags: Tags(relation.tags().collect()) });
        }
    });
    read.map_err(|source| SourceError::Pbf { path: path.into(), source })
}
