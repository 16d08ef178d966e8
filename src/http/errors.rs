//! Domain errors as responses: a status, and `{"errors":[{"code","message","detail"}]}`.
//!
//! The codes are those of the distribution-spec and, where it has none, distribution's. Messages name what the client
//! sent, and nothing of the server: paths and the system's words stay here.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::route::RouteError;
use super::run::Lost;
use crate::fs::ErrorKind;
use crate::oci::InvalidWord;
use crate::registry::Error;

/// A registered error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No such blob in the repository.
    BlobUnknown,
    /// An upload cannot be what the request says.
    BlobUploadInvalid,
    /// No such upload session.
    BlobUploadUnknown,
    /// A digest is malformed, or is not that of the content.
    DigestInvalid,
    /// The client may not do this.
    Denied,
    /// A manifest references what the repository lacks.
    ManifestBlobUnknown,
    /// The manifest is not valid.
    ManifestInvalid,
    /// No such manifest or tag in the repository.
    ManifestUnknown,
    /// The repository name is not valid.
    NameInvalid,
    /// No such repository.
    NameUnknown,
    /// The number of entries that is asked for is none.
    PaginationNumberInvalid,
    /// A range is not that of the upload, or not in the blob.
    RangeInvalid,
    /// A length is not what was said, or over the limit.
    SizeInvalid,
    /// The tag is not valid.
    TagInvalid,
    /// Too many requests.
    TooManyRequests,
    /// The client must say who it is.
    Unauthorized,
    /// Storage cannot do it now.
    Unavailable,
    /// Something went wrong that is not the client's affair.
    Unknown,
    /// The operation is not supported here.
    Unsupported,
}

impl Code {
    /// The code as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::Denied => "DENIED",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
            Self::Unsupported => "UNSUPPORTED",
        }
    }

    /// The status that goes with the code, where nothing says otherwise.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown | Self::BlobUploadUnknown | Self::ManifestUnknown | Self::NameUnknown => {
                StatusCode::NOT_FOUND
            }
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::PaginationNumberInvalid
            | Self::SizeInvalid
            | Self::TagInvalid => StatusCode::BAD_REQUEST,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::RangeInvalid => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

/// A request that is answered with an error.
#[derive(Debug, Clone)]
pub struct Failure {
    status: StatusCode,
    code: Code,
    message: String,
    detail: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the client is not told.
    log: Option<String>,
}

/// What an endpoint answers.
pub type Answer = Result<Response, Failure>;

impl Failure {
    /// An error with the status that goes with its code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (status, message) = (code.status(), message.into());
        Self { status, code, message, detail: Value::Null, headers: Vec::new(), log: None }
    }

    /// A failure that is not the client's affair: `log` goes to the server's log alone.
    pub fn internal(code: Code, message: &str, log: impl Into<String>) -> Self {
        Self { log: Some(log.into()), ..Self::new(code, message) }
    }

    /// The same with another status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with a detail for machines.
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    /// The same with a header; one whose value cannot stand in a header is left out.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The response.
    pub fn into_response(self) -> Response {
        let Self { status, code, message, detail, headers, log } = self;
        if let Some(log) = log {
            tracing::error!(code = code.as_str(), "{log}");
        }
        let error = json!({ "code": code.as_str(), "message": message, "detail": detail });
        let body = json!({ "errors": [error] }).to_string();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response.headers_mut().extend(headers);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        *response.body_mut() = body.into();
        response
    }
}

impl From<InvalidWord> for Failure {
    fn from(word: InvalidWord) -> Self {
        let code = match word.what {
            "repository name" => Code::NameInvalid,
            "tag" => Code::TagInvalid,
            "upload id" => Code::BlobUploadUnknown,
            _ => Code::DigestInvalid,
        };
        Self::new(code, word.to_string())
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotFound => Self::new(Code::Unsupported, error.to_string()).with_status(StatusCode::NOT_FOUND),
            RouteError::Word(word) => word.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NameUnknown(name) => Self::new(Code::NameUnknown, text).with_detail(json!({ "name": name })),
            Error::BlobUnknown(digest) => Self::new(Code::BlobUnknown, text).with_detail(json!({ "digest": digest })),
            Error::ManifestUnknown(what) => {
                Self::new(Code::ManifestUnknown, text).with_detail(json!({ "reference": what }))
            }
            Error::ManifestBlobUnknown(digest) => {
                Self::new(Code::ManifestBlobUnknown, text).with_detail(json!({ "digest": digest }))
            }
            Error::ManifestInvalid(_) => Self::new(Code::ManifestInvalid, text),
            Error::ManifestTooLarge { .. } => {
                Self::new(Code::SizeInvalid, text).with_status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Error::RangeNotSatisfiable { len_bytes, .. } => Self::new(Code::RangeInvalid, text)
                .with_header(http::header::CONTENT_RANGE, &format!("bytes */{len_bytes}")),
            Error::UploadUnknown(_) => Self::new(Code::BlobUploadUnknown, text),
            Error::RangeInvalid { at_bytes, given_bytes } => {
                Self::new(Code::RangeInvalid, text).with_detail(json!({ "offset": at_bytes, "given": given_bytes }))
            }
            Error::DigestInvalid(digest) => {
                Self::new(Code::DigestInvalid, text).with_detail(json!({ "digest": digest }))
            }
            Error::Denied(_) => Self::new(Code::Denied, text),
            Error::Body(_) => Self::new(Code::BlobUploadInvalid, text),
            Error::Corrupt { .. } => {
                Self::internal(Code::Unknown, "what is stored is damaged; the server's log says where", text)
            }
            Error::Stopped(_) => {
                Self::internal(Code::Unavailable, "storage takes no writes until the server is restarted", text)
            }
            Error::Fs(error) => {
                let (code, message) = match error.kind {
                    ErrorKind::NoSpace => (Code::Unavailable, "storage is full; try again when there is space"),
                    ErrorKind::ReadOnly => (Code::Unavailable, "storage is read-only"),
                    _ => (Code::Unknown, "storage failed; the server's log says how"),
                };
                Self::internal(code, message, text)
            }
        }
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::internal(Code::Unknown, "the server failed; its log says how", lost.to_string())
    }
}
