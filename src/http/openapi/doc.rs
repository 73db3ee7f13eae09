//! What the document says of one operation, built up from types.

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::openapi::link::Link;
use utoipa::openapi::path::{
    Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, AnyOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
};
use utoipa::{IntoParams, ToSchema};

use crate::http::auth::Claim;
use crate::http::error::ErrorBody;

use super::refusal;

/// The name of the security scheme.
pub(super) const BEARER: &str = "bearer";

/// One operation of the document, and the schemas that it names.
pub(in crate::http) struct Doc {
    operation: OperationBuilder,
    body: Option<DocBody>,
    refusals: BTreeSet<u16>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// The body that an operation takes.
struct DocBody {
    name: String,
    schema: RefOr<Schema>,
    example: Value,
    types: &'static [&'static str],
    /// Members of which one at least is there, with their types.
    either: Vec<(&'static str, Type)>,
}

impl Doc {
    /// An operation of a caller, who says by token or `userId` who it is.
    pub(super) fn new(id: &str, tag: &str, summary: &str) -> Self {
        let mut doc = Self::open(id, tag, summary);
        // The empty one: which of them is in force depends on how the server was started.
        let either = [SecurityRequirement::new(BEARER, [""; 0]), SecurityRequirement::default()];
        doc.operation = doc.operation.securities(Some(either));
        doc.params::<Claim>().refuses(&[400, 401, 403, 429])
    }

    /// An operation that is open to everybody.
    pub(super) fn open(id: &str, tag: &str, summary: &str) -> Self {
        let operation =
            OperationBuilder::new().operation_id(Some(id)).tag(tag).summary(Some(summary));
        // What the layers around every handler may answer.
        let refusals = BTreeSet::from([413, 431, 500, 503]);
        Self { operation, body: None, refusals, schemas: Vec::new() }.names::<ErrorBody<'_>>()
    }

    /// What it does, where the summary does not say it all.
    pub(super) fn about(mut self, description: &str) -> Self {
        self.operation = self.operation.description(Some(description));
        self
    }

    /// It takes the parameters of `T` behind the `?`.
    pub(super) fn params<T: IntoParams>(mut self) -> Self {
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            self.operation = self.operation.parameter(parameter);
        }
        self
    }

    /// A part of its path is a `T`.
    pub(super) fn path<T: ToSchema>(mut self, name: &str, example: &str) -> Self {
        let parameter: Parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(Ref::from_schema_name(T::name())))
            .example(Some(example.into()))
            .build();
        self.operation = self.operation.parameter(parameter);
        self.names::<T>()
    }

    /// It takes a `T` as its body, of which `example` is one.
    pub(super) fn body<T: ToSchema>(self, example: Value) -> Self {
        self.takes::<T>(example, &["application/json"])
    }

    /// It takes a `T` as what to change, of which `example` is one.
    pub(super) fn patch<T: ToSchema>(self, example: Value) -> Self {
        let types = &["application/json", "application/merge-patch+json"];
        self.takes::<T>(example, types).without("sessionId")
    }

    fn takes<T: ToSchema>(mut self, example: Value, types: &'static [&'static str]) -> Self {
        let name = T::name().into_owned();
        self.body = Some(DocBody { name, schema: T::schema(), example, types, either: Vec::new() });
        T::schemas(&mut self.schemas);
        self.refuses(&[408, 415, 507])
    }

    /// Its body has at least one of these members.
    pub(super) fn either(mut self, members: [(&'static str, Type); 2]) -> Self {
        if let Some(body) = &mut self.body {
            body.either = members.into();
        }
        self
    }

    /// It goes by another name.
    pub(super) fn named(mut self, id: &str) -> Self {
        self.operation = self.operation.operation_id(Some(id));
        self
    }

    /// What is `name` among its parameters or in its body is a part of its path, and a `T`.
    pub(super) fn in_path<T: ToSchema>(mut self, name: &str, example: &str) -> Self {
        let mut operation = self.operation.build();
        if let Some(parameters) = &mut operation.parameters {
            parameters.retain(
                |parameter| !matches!(parameter, RefOr::T(parameter) if parameter.name == name),
            );
        }
        self.operation = operation.into();
        self.without(name).path::<T>(name, example)
    }

    /// Its body has no member `name`.
    fn without(mut self, name: &str) -> Self {
        if let Some(body) = &mut self.body
            && let RefOr::T(Schema::Object(object)) = &mut body.schema
            && object.properties.remove(name).is_some()
        {
            object.required.retain(|required| required != name);
            if let Value::Object(example) = &mut body.example {
                example.remove(name);
            }
            body.name.push_str("InPath");
        }
        self
    }

    /// It is done only to what the caller has seen, if the caller says what that is.
    pub(super) fn matching(self) -> Self {
        let about = "the ETag of what the caller has seen: if it has changed, nothing is done";
        self.header("If-Match", about, any_text()).refuses(&[412])
    }

    /// It is done once, however often it is sent.
    pub(super) fn once(self) -> Self {
        let about = "names this request for 24 hours: who sends it again gets the first answer";
        let key = any_text().min_length(Some(1)).max_length(Some(255)).pattern(Some("^[ -~]+$"));
        self.header("Idempotency-Key", about, key).refuses(&[422])
    }

    fn header(mut self, name: &str, about: &str, text: ObjectBuilder) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .description(Some(about))
            .schema(Some(text.build()))
            .build();
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// It answers `status` with a `T`, from which `links` lead on.
    pub(super) fn gives<T: ToSchema>(
        mut self,
        status: u16,
        description: &str,
        links: &[(&str, Link)],
    ) -> Self {
        let schema = Ref::from_schema_name(T::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let mut response = answer(description).content("application/json", content);
        for (name, link) in links {
            response = response.link(*name, link.clone());
        }
        self.operation = self.operation.response(status.to_string(), response);
        self.names::<T>()
    }

    /// It answers 200 with one `T` after another, as they come, in this format.
    pub(super) fn streams<T: ToSchema>(mut self, media_type: &str, description: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(any_text().build())).build();
        let response = answer(description).content(media_type, content);
        self.operation = self.operation.response("200", response);
        self.names::<T>()
    }

    /// Who was cut off can go on from where that was.
    pub(super) fn resumes(self) -> Self {
        self.header("Last-Event-ID", "the id of the last event that came; beats since", any_text())
    }

    /// It answers 101 and goes on in another protocol.
    pub(super) fn switches(mut self, description: &str) -> Self {
        self.operation = self.operation.response("101", answer(description));
        self
    }

    /// It answers 304 to a caller who has what it would give.
    pub(super) fn unchanged(mut self) -> Self {
        self = self.header("If-None-Match", "the ETag of what the caller has", any_text());
        let response = answer("the caller has it already");
        self.operation = self.operation.response("304", response);
        self
    }

    /// It may refuse with these statuses.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self
    }

    fn names<T: ToSchema>(mut self) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        self
    }

    /// The operation, and the schemas that it names.
    pub(super) fn finish(self) -> (Operation, Vec<(String, RefOr<Schema>)>) {
        let (mut operation, mut schemas) = (self.operation, self.schemas);
        if let Some(DocBody { name, mut schema, example, types, either }) = self.body {
            let mut body = RequestBodyBuilder::new().required(Some(Required::True));
            for content_type in types {
                let schema = Ref::from_schema_name(&name);
                let content = ContentBuilder::new().schema(Some(schema));
                body = body.content(*content_type, content.example(Some(example.clone())).build());
            }
            operation = operation.request_body(Some(body.build()));
            if !either.is_empty() {
                schema = AllOfBuilder::new().item(schema).item(one_of(either)).into();
            }
            schemas.push((name, schema));
        }
        for status in self.refusals {
            let response = Ref::from_response_name(refusal::name(status));
            operation = operation.response(status.to_string(), response);
        }
        (operation.build(), schemas)
    }
}

/// An object that has at least one of these members.
fn one_of(members: Vec<(&str, Type)>) -> AnyOfBuilder {
    members.into_iter().fold(AnyOfBuilder::new(), |one, (member, kind)| {
        let there = ObjectBuilder::new().schema_type(kind);
        one.item(ObjectBuilder::new().property(member, there).required(member))
    })
}

fn any_text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// An answer, with the header that every answer has.
pub(super) fn answer(description: &str) -> ResponseBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    let id = HeaderBuilder::new()
        .schema(Some(text))
        .description(Some("names this request in the server's log; the caller's, if it sent one"))
        .build();
    ResponseBuilder::new().description(description).header("X-Request-Id", id)
}
