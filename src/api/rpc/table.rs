//! The one table of methods: name, role, words, typed parameters and result, and the function behind it.
//! Dispatch, `rpc.discover` and docs/json-rpc.md all come from it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::engine::Params;
use super::error::Error;
use super::session::Session;
use crate::access::Role;

/// Parameters of a method: by name, and by position in the order of [`Named::NAMES`].
pub trait Named: DeserializeOwned + ToSchema + Send + 'static {
    const NAMES: &'static [&'static str];
}

/// Declares parameters: a struct whose fields are read by name or by position and described by their
/// comments. Optional ones are `Option`.
macro_rules! params {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_meta])* pub $field: $kind),* }

        impl $crate::api::rpc::table::Named for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}
pub(super) use params;

params! {
    /// Nothing.
    Nothing {}
}

type Function = Box<dyn Fn(Arc<Session>, Value) -> BoxFuture<'static, Result<Value, Error>> + Send + Sync>;
type Schemas = Vec<(String, RefOr<Schema>)>;

/// One method.
pub struct Method {
    pub name: &'static str,
    /// `None`: everybody who is connected.
    pub needs: Option<Role>,
    pub summary: &'static str,
    /// In the order of positions.
    pub names: &'static [&'static str],
    pub params: fn() -> RefOr<Schema>,
    pub result: fn() -> RefOr<Schema>,
    /// What the two refer to.
    pub schemas: fn(&mut Schemas),
    function: Function,
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.name).finish()
    }
}

/// A row of the table.
pub fn method<P, R, F>(
    name: &'static str,
    needs: Option<Role>,
    summary: &'static str,
    function: fn(Arc<Session>, P) -> F,
) -> Method
where
    P: Named,
    R: Serialize + ToSchema + 'static,
    F: Future<Output = Result<R, Error>> + Send + 'static,
{
    Method {
        name,
        needs,
        summary,
        names: P::NAMES,
        params: P::schema,
        result: R::schema,
        schemas: |schemas| {
            P::schemas(schemas);
            R::schemas(schemas);
        },
        function: Box::new(move |session, params| {
            let params = serde_json::from_value::<P>(params);
            async move {
                let params = params.map_err(|error| Error::params(error.to_string()))?;
                let result = function(session, params).await?;
                serde_json::to_value(result).map_err(|error| {
                    tracing::error!(%error, "the result of {name} could not be written as JSON");
                    Error::internal("the result could not be written as JSON")
                })
            }
            .boxed()
        }),
    }
}

impl Method {
    /// Makes the call. The caller has seen to the role.
    pub async fn call(&self, session: Arc<Session>, params: Params) -> Result<Value, Error> {
        let params = self.named(params)?;
        (self.function)(session, Value::Object(params)).await
    }

    /// Parameters by name, however they were given.
    fn named(&self, params: Params) -> Result<Map<String, Value>, Error> {
        match params {
            Params::None => Ok(Map::new()),
            Params::Named(named) => Ok(named),
            Params::Positional(values) if values.len() > self.names.len() => {
                let most = self.names.len();
                Err(Error::params(format!("{} takes {most} parameters, not {}", self.name, values.len())))
            }
            Params::Positional(values) => {
                Ok(self.names.iter().map(ToString::to_string).zip(values).collect())
            }
        }
    }
}
