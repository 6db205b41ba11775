//! Who may do what: logins, roles, users.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::secret::Secret;

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Whether control needs a login though neither users nor a JWT secret are written here: by API key.
    pub required: bool,
    pub watch: Watch,
    /// What JSON Web Tokens (HS256) are signed with; at least 32 bytes.
    pub jwt_secret: Option<Secret>,
    /// A file whose first line is that secret; it is in `jwt_secret` after loading.
    pub jwt_secret_file: Option<PathBuf>,
    #[serde(rename = "user")]
    pub users: Vec<User>,
}

impl Access {
    /// Whether somebody wants logins at all.
    pub fn configured(&self) -> bool {
        self.required || self.watch == Watch::Login || self.jwt_secret.is_some() || !self.users.is_empty()
    }
}

/// Who may watch, once `[access]` is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// Everybody who reaches the port.
    #[default]
    Open,
    Login,
}

/// What somebody may do; each role may do what those before it may.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Watches and looks at states.
    #[default]
    Viewer,
    /// Works with cameras: records, starts, restarts.
    Operator,
    /// Changes what there is: cameras, files, retention.
    Admin,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// A user who logs in by name and password (HTTP Basic, RTSP Digest).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    #[serde(default)]
    pub role: Role,
    /// A file whose first line is the password; only its hashes are kept.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// `MD5(name:fanlight:password)` in hex, instead of a password.
    #[serde(default)]
    pub ha1_md5: Option<Secret>,
    /// The same by SHA-256.
    #[serde(default)]
    pub ha1_sha256: Option<Secret>,
    /// The hashes in force, filled by loading.
    #[serde(skip)]
    pub ha1: super::super::Ha1,
}
