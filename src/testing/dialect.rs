//! The dialects of token endpoints: how an answer looks that means the same.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::{Map, Value};

use super::{body::ServerBody, wire::Wire};
use crate::error::BoxError;

/// How an [`AuthServer`](super::AuthServer) puts what its token endpoints have to say: real servers
/// wrap, rename, compress and break off their answers in a thousand ways, and none of that may cost
/// a login.
///
/// For every call there is [`AuthServerBuilder::dialect`](super::AuthServerBuilder::dialect), for the
/// next one [`Fault::dialect`](super::Fault::dialect). Settings are applied in the order in which
/// they are listed here, whatever the order of the calls.
///
/// ```
/// use http::StatusCode;
/// use serde_json::json;
/// use tower_refresh::testing::{Dialect, Ending};
///
/// // `{"code": 0, "data": {"access_token": "Bearer …", …}}`, after a warning and with an odd line
/// // in the head, over a connection that breaks before the promised end.
/// let dialect = Dialect::new()
///     .fields(|fields| {
///         if let Some(token) = fields["access_token"].as_str() {
///             fields["access_token"] = format!("Bearer {token}").into();
///         }
///     })
///     .wrapped(|fields| json!({ "code": 0, "data": fields }))
///     .refusal(StatusCode::OK, r#"{"code":40030,"message":"the refresh token is over"}"#)
///     .before("Warning: Undefined variable $user\n")
///     .header_line("X Odd Header: 1")
///     .ending(Ending::Short);
/// ```
#[derive(Clone, Default)]
#[must_use = "a dialect does nothing before a server speaks it"]
pub struct Dialect {
    fields: Option<Edit>,
    wrap: Option<Wrap>,
    refusal: Option<(StatusCode, Bytes)>,
    form: bool,
    quoted: bool,
    before: Bytes,
    after: Bytes,
    encoding: Option<(String, Encode)>,
    content_type: Option<String>,
    header_lines: Vec<Bytes>,
    ending: Ending,
}

type Edit = Arc<dyn Fn(&mut Map<String, Value>) + Send + Sync>;
type Wrap = Arc<dyn Fn(Map<String, Value>) -> Value + Send + Sync>;
type Encode = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// How a body ends on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Where its `Content-Length` says.
    #[default]
    Length,
    /// The connection closes before the promised `Content-Length`, and all of the body was sent.
    Short,
    /// The connection closes in the middle of the body.
    Cut,
    /// In chunks, without the last one: the connection closes instead.
    Chunked,
    /// With the connection, and no length.
    Close,
}

impl Dialect {
    /// The server's own words: JSON, as its protocols have it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the fields of a good answer: names, words on the life, a scheme before the token.
    pub fn fields(
        mut self,
        edit: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) -> Self {
        self.fields = Some(Arc::new(edit));
        self
    }

    /// Puts the fields of a good answer into something larger.
    pub fn wrapped(
        mut self,
        wrap: impl Fn(Map<String, Value>) -> Value + Send + Sync + 'static,
    ) -> Self {
        self.wrap = Some(Arc::new(wrap));
        self
    }

    /// What it says in the place of each of its own refusals. Their content type stays JSON unless
    /// [`content_type`](Self::content_type) says otherwise.
    pub fn refusal(mut self, status: StatusCode, body: impl Into<Bytes>) -> Self {
        self.refusal = Some((status, body.into()));
        self
    }

    /// Writes the fields of a good answer as a form (`application/x-www-form-urlencoded`).
    pub fn form(mut self) -> Self {
        self.form = true;
        self
    }

    /// Writes the JSON of a good answer into a JSON string.
    pub fn quoted(mut self) -> Self {
        self.quoted = true;
        self
    }

    /// Puts bytes before the body.
    pub fn before(mut self, bytes: impl Into<Bytes>) -> Self {
        self.before = bytes.into();
        self
    }

    /// Puts bytes behind the body.
    pub fn after(mut self, bytes: impl Into<Bytes>) -> Self {
        self.after = bytes.into();
        self
    }

    /// Encodes the body, and says so in `Content-Encoding` unless `name` is empty.
    pub fn encoded(
        mut self,
        name: impl Into<String>,
        encode: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.encoding = Some((name.into(), Arc::new(encode)));
        self
    }

    /// What it says that its bodies are. Empty says nothing. Defaults to what they are.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Adds a line to the head, byte for byte, before all others: `Retry-After: 3.5`, or one that is
    /// no header at all. Its end is added.
    pub fn header_line(mut self, line: impl Into<Bytes>) -> Self {
        self.header_lines.push(line.into());
        self
    }

    /// How the body ends. Defaults to [`Ending::Length`].
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Answers a call, and ends its connection.
    pub(super) async fn answer(
        &self,
        answer: Response<Bytes>,
        wire: &Wire,
    ) -> Result<Response<ServerBody>, BoxError> {
        wire.end_with(&self.write(answer)).await?;
        // hyper has nothing to add.
        Err("this call was answered in a dialect".into())
    }

    fn write(&self, answer: Response<Bytes>) -> Vec<u8> {
        let (head, body) = answer.into_parts();
        let is_good = head.status.is_success();
        let (status, mut content_type, body) = match &self.refusal {
            Some((status, body)) if !is_good => (*status, "application/json", body.to_vec()),
            _ => (head.status, "application/json", body.to_vec()),
        };
        let fields = serde_json::from_slice(&body).ok().filter(|_| is_good);
        let mut body = match fields {
            Some(Value::Object(mut fields)) => {
                if let Some(edit) = &self.fields {
                    edit(&mut fields);
                }
                if self.form {
                    content_type = "application/x-www-form-urlencoded";
                    form(&fields).into_bytes()
                } else {
                    let whole = match &self.wrap {
                        Some(wrap) => wrap(fields),
                        None => Value::Object(fields),
                    };
                    let json = whole.to_string();
                    if self.quoted { Value::from(json).to_string() } else { json }.into_bytes()
                }
            }
            _ => body,
        };
        body = [&*self.before, &*body, &*self.after].concat();
        let mut encoding = "";
        if let Some((name, encode)) = &self.encoding {
            (encoding, body) = (name, encode(&body));
        }
        let content_type = self.content_type.as_deref().unwrap_or(content_type);

        let mut wire = format!("HTTP/1.1 {} {}\r\n", status.as_str(), reason(status)).into_bytes();
        let mut line = |line: &[u8]| wire.extend_from_slice(&[line, b"\r\n"].concat());
        self.header_lines.iter().for_each(|text| line(text));
        for (name, value) in &head.headers {
            if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
                line(&[name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
            }
        }
        for (name, value) in [("content-type", content_type), ("content-encoding", encoding)] {
            if !value.is_empty() {
                line(format!("{name}: {value}").as_bytes());
            }
        }
        line(b"connection: close");
        let length = body.len();
        match self.ending {
            Ending::Length | Ending::Cut => line(format!("content-length: {length}").as_bytes()),
            Ending::Short => line(format!("content-length: {}", length + 5).as_bytes()),
            Ending::Chunked => line(b"transfer-encoding: chunked"),
            Ending::Close => {}
        }
        line(b"");
        match self.ending {
            Ending::Cut => body.truncate(length / 2),
            Ending::Chunked => {
                body = [format!("{length:x}\r\n").as_bytes(), &body, b"\r\n"].concat();
            }
            Ending::Length | Ending::Short | Ending::Close => {}
        }
        wire.append(&mut body);
        wire
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialect").field("ending", &self.ending).finish_non_exhaustive()
    }
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}

fn form(fields: &Map<String, Value>) -> String {
    let pairs = fields.iter().map(|(name, value)| match value {
        Value::String(value) => (name, value.clone()),
        value => (name, value.to_string()),
    });
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
