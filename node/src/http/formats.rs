//! How ids look, written into the document wherever one stands: by the name of the field, and in a
//! path by what it is a path of. And that numbers which are never negative have 64 bits of their own.

use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{ArrayItems, KnownFormat, Object, SchemaFormat};
use utoipa::openapi::{OpenApi, RefOr, Schema};

/// Digits of Crockford's base32; small letters are read as well.
const DIGIT: &str = "[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]";
/// The digits of 64 bits: the first has four of them.
const NARROW: &str = "[0-9A-Fa-f]DIGIT{12}";
/// The digits of 128 bits, of which the first four say the layout, 1.
const WIDE: &str = "0[GHJKMNP-TV-Zghjkmnp-tv-z]DIGIT{24}";

/// What the ids of a kind begin with, the digits after that, and where they stand.
struct Kind {
    prefix: &'static str,
    digits: &'static str,
    /// The first part of a path whose `{id}` it is, below `/v1/`.
    under: &'static str,
    /// Fields and headers.
    names: &'static [&'static str],
}

const KINDS: [Kind; 6] = [
    Kind { prefix: "rdr", digits: NARROW, under: "riders", names: &["rider_id", "X-User-ID"] },
    Kind { prefix: "zon", digits: NARROW, under: "zones", names: &["zone_id"] },
    Kind { prefix: "drv", digits: NARROW, under: "drivers", names: &["driver_id", "X-Driver-ID"] },
    Kind {
        prefix: "bkg",
        digits: WIDE,
        under: "bookings",
        names: &[
            "booking_id",
            "active_booking_id",
            "current_booking_id",
            "replaces",
            "replaced_by",
        ],
    },
    Kind { prefix: "trp", digits: WIDE, under: "trips", names: &["trip_id", "current_trip_id"] },
    Kind { prefix: "off", digits: WIDE, under: "offers", names: &["offer_id", "current_offer_id"] },
];

impl Kind {
    fn pattern(&self) -> String {
        format!("^{}_{}$", self.prefix, self.digits.replace("DIGIT", DIGIT))
    }
}

/// Says in a document how its ids look.
pub(super) fn say_formats(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let first = path.strip_prefix("/v1/").and_then(|path| path.split('/').next());
        let under = KINDS.iter().find(|kind| Some(kind.under) == first);
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            of_operation(operation, under);
        }
    }
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    for schema in schemas.into_iter().flatten().map(|(_, schema)| schema) {
        of_schema(schema);
    }
}

fn of_operation(operation: &mut Operation, under: Option<&Kind>) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let kind = match parameter.parameter_in {
            ParameterIn::Path => under.filter(|_| parameter.name == "id"),
            ParameterIn::Query | ParameterIn::Header | ParameterIn::Cookie => {
                named(&parameter.name)
            }
        };
        if let (Some(kind), Some(RefOr::T(Schema::Object(text)))) = (kind, &mut parameter.schema) {
            text.pattern = Some(kind.pattern());
        } else if let Some(schema) = &mut parameter.schema {
            of_schema(schema);
        }
    }
}

fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.names.contains(&name))
}

fn of_schema(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => of_object(object),
        Schema::Array(array) => of_items(&mut array.items),
        Schema::AllOf(all) => all.items.iter_mut().for_each(of_schema),
        Schema::OneOf(one) => one.items.iter_mut().for_each(of_schema),
        Schema::AnyOf(any) => any.items.iter_mut().for_each(of_schema),
        _ => {}
    }
}

fn of_items(items: &mut ArrayItems) {
    if let ArrayItems::RefOrSchema(schema) = items {
        of_schema(schema);
    }
}

fn of_object(object: &mut Object) {
    // `int64` means at most 2^63 - 1 to whoever takes it at its word.
    if object.format == Some(SchemaFormat::KnownFormat(KnownFormat::Int64))
        && object.minimum.is_some()
    {
        object.format = Some(SchemaFormat::Custom("uint64".to_owned()));
    }
    for (name, property) in &mut object.properties {
        match (named(name), &mut *property) {
            (Some(kind), RefOr::T(Schema::Object(text))) => text.pattern = Some(kind.pattern()),
            (Some(_) | None, _) => of_schema(property),
        }
    }
}
