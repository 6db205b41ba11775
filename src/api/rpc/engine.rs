//! JSON-RPC 2.0 itself (jsonrpc.org/specification): bytes in, answers out. Knows no method and no socket;
//! whoever calls hands in what a call leads to ([`Handler`]).
//!
//! The rules that are easily got wrong: a call without `id` is never answered, one with `"id": null` is;
//! a batch of such calls gives nothing at all, not `[]`; what is no request object is answered by -32600,
//! each on its own within a batch; a result that is null is still there.

use serde_json::{Map, Value, json};

use super::error::Error;

/// What a call leads to.
pub trait Handler {
    fn call(&self, call: Call) -> impl Future<Output = Result<Value, Error>> + Send;
}

/// One call that is well formed.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub method: String,
    pub params: Params,
    /// Whether nobody waits for the answer.
    pub notification: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Params {
    #[default]
    None,
    Named(Map<String, Value>),
    Positional(Vec<Value>),
}

/// The answer to one message, as text; `None` when there is none to give. Calls of a batch are made one
/// after the other, in order. `most` is how many a batch may have.
pub async fn answer(message: &[u8], most: usize, handler: &impl Handler) -> Option<String> {
    let message: Value = match serde_json::from_slice(message) {
        Ok(message) => message,
        Err(error) => return Some(refusal(Value::Null, &Error::parse(&error)).to_string()),
    };
    let Value::Array(batch) = message else { return Some(one(message, handler).await?.to_string()) };
    if batch.is_empty() {
        return Some(refusal(Value::Null, &Error::invalid("a batch has at least one call")).to_string());
    }
    if batch.len() > most {
        let why = format!("a batch has at most {most} calls, this one has {}", batch.len());
        return Some(refusal(Value::Null, &Error::invalid(why)).to_string());
    }
    let mut answers = Vec::new();
    for request in batch {
        answers.extend(one(request, handler).await);
    }
    (!answers.is_empty()).then(|| Value::Array(answers).to_string())
}

/// A notification that the server sends.
pub fn notification(method: &str, params: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(&json!({
        "jsonrpc": "2.0",
        "method": method,
        "params": serde_json::to_value(params)?,
    }))
}

async fn one(request: Value, handler: &impl Handler) -> Option<Value> {
    let (call, id) = match read(request) {
        Ok(read) => read,
        Err(refusal) => return Some(refusal),
    };
    let done = handler.call(call).await;
    let id = id?;
    Some(match done {
        Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": id }),
        Err(error) => refusal(id, &error),
    })
}

/// A call and its id, if it has one; or the answer that says what is wrong.
fn read(request: Value) -> Result<(Call, Option<Value>), Value> {
    let Value::Object(mut request) = request else {
        return Err(refusal(Value::Null, &Error::invalid("a request is an object")));
    };
    let id = request.remove("id");
    let told = match &id {
        None => Value::Null,
        Some(id @ (Value::Null | Value::String(_) | Value::Number(_))) => id.clone(),
        Some(_) => {
            return Err(refusal(Value::Null, &Error::invalid("an id is a string, a number or null")));
        }
    };
    let wrong = |why: &str| refusal(told.clone(), &Error::invalid(why));
    if request.remove("jsonrpc") != Some(Value::from("2.0")) {
        return Err(wrong("\"jsonrpc\" is \"2.0\""));
    }
    let Some(Value::String(method)) = request.remove("method") else {
        return Err(wrong("\"method\" is the name of a method, a string"));
    };
    let params = match request.remove("params") {
        None => Params::None,
        Some(Value::Object(named)) => Params::Named(named),
        Some(Value::Array(positional)) => Params::Positional(positional),
        Some(_) => return Err(wrong("\"params\" is an object or an array, or left out")),
    };
    Ok((Call { method, params, notification: id.is_none() }, id))
}

fn refusal(id: Value, error: &Error) -> Value {
    json!({ "jsonrpc": "2.0", "error": error, "id": id })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::ready;

    use proptest::prelude::*;

    use super::*;

    /// The methods of the specification's examples.
    #[derive(Default)]
    struct Examples {
        heard: RefCell<Vec<String>>,
    }

    impl Handler for Examples {
        #[allow(clippy::manual_async_fn)]
        fn call(&self, call: Call) -> impl Future<Output = Result<Value, Error>> + Send {
            self.heard.borrow_mut().push(call.method.clone());
            let number = |value: Option<&Value>| value.and_then(Value::as_i64).unwrap_or_default();
            ready(match (call.method.as_str(), &call.params) {
                ("subtract", Params::Positional(n)) => Ok(json!(number(n.first()) - number(n.get(1)))),
                ("subtract", Params::Named(n)) => {
                    Ok(json!(number(n.get("minuend")) - number(n.get("subtrahend"))))
                }
                ("sum", Params::Positional(n)) => Ok(json!(n.iter().map(|n| number(Some(n))).sum::<i64>())),
                ("get_data", _) => Ok(json!(["hello", 5])),
                ("nothing", _) => Ok(Value::Null),
                ("update" | "notify_hello" | "notify_sum", _) => Ok(Value::Null),
                (method, _) => Err(Error::no_method(method)),
            })
        }
    }

    fn ask(message: &str) -> Option<Value> {
        let examples = Examples::default();
        let answer = futures_util::FutureExt::now_or_never(answer(message.as_bytes(), 10, &examples));
        let answer = answer.expect("these methods do not wait")?;
        Some(serde_json::from_str(&answer).expect("an answer is JSON"))
    }

    /// The answer with errors cut to their code: their words are ours.
    fn codes(mut answer: Value) -> Value {
        let cut = |answer: &mut Value| {
            if let Some(error) = answer.get_mut("error") {
                assert!(error["message"].is_string(), "{error}");
                *error = error["code"].clone();
            }
        };
        match &mut answer {
            Value::Array(answers) => answers.iter_mut().for_each(cut),
            one => cut(one),
        }
        answer
    }

    fn expect(message: &str, expected: &str) {
        let expected: Option<Value> = (!expected.is_empty()).then(|| serde_json::from_str(expected).unwrap());
        assert_eq!(ask(message).map(codes), expected, "{message}");
    }

    #[test]
    fn the_examples_of_the_specification_come_out_as_it_says() {
        let subtract = r#"{"jsonrpc": "2.0", "method": "subtract", "params": "#;
        expect(&format!(r#"{subtract} [42, 23], "id": 1}}"#), r#"{"jsonrpc": "2.0", "result": 19, "id": 1}"#);
        expect(
            &format!(r#"{subtract} [23, 42], "id": 2}}"#),
            r#"{"jsonrpc": "2.0", "result": -19, "id": 2}"#,
        );
        expect(
            &format!(r#"{subtract} {{"subtrahend": 23, "minuend": 42}}, "id": 3}}"#),
            r#"{"jsonrpc": "2.0", "result": 19, "id": 3}"#,
        );
        expect(
            &format!(r#"{subtract} {{"minuend": 42, "subtrahend": 23}}, "id": 4}}"#),
            r#"{"jsonrpc": "2.0", "result": 19, "id": 4}"#,
        );
        expect(r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#, "");
        expect(r#"{"jsonrpc": "2.0", "method": "foobar"}"#, "");
        expect(
            r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
            r#"{"jsonrpc": "2.0", "error": -32601, "id": "1"}"#,
        );
        let parse = r#"{"jsonrpc": "2.0", "error": -32700, "id": null}"#;
        let invalid = r#"{"jsonrpc": "2.0", "error": -32600, "id": null}"#;
        expect(r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#, parse);
        expect(r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#, invalid);
        expect(
            r#"[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]"#,
            parse,
        );
        expect("[]", invalid);
        expect("[1]", &format!("[{invalid}]"));
        expect("[1,2,3]", &format!("[{invalid},{invalid},{invalid}]"));
        expect(
            r#"[
                {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
                {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
                {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
                {"foo": "boo"},
                {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
                {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
            ]"#,
            &format!(
                r#"[
                    {{"jsonrpc": "2.0", "result": 7, "id": "1"}},
                    {{"jsonrpc": "2.0", "result": 19, "id": "2"}},
                    {invalid},
                    {{"jsonrpc": "2.0", "error": -32601, "id": "5"}},
                    {{"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}}
                ]"#
            ),
        );
        expect(
            r#"[
                {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
                {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
            ]"#,
            "",
        );
    }

    #[test]
    fn what_implementations_get_wrong_is_right() {
        let table = [
            // Null is an id, and a null result is a result.
            (
                r#"{"jsonrpc":"2.0","method":"nothing","id":null}"#,
                r#"{"jsonrpc":"2.0","result":null,"id":null}"#,
            ),
            (r#"{"jsonrpc":"2.0","method":"no","id":null}"#, r#"{"jsonrpc":"2.0","error":-32601,"id":null}"#),
            // The id is given back as it came.
            (
                r#"{"jsonrpc":"2.0","method":"nothing","id":1.5}"#,
                r#"{"jsonrpc":"2.0","result":null,"id":1.5}"#,
            ),
            (r#"{"jsonrpc":"2.0","method":"nothing","id":""}"#, r#"{"jsonrpc":"2.0","result":null,"id":""}"#),
            (
                r#"{"jsonrpc":"2.0","method":"nothing","id":18446744073709551615}"#,
                r#"{"jsonrpc":"2.0","result":null,"id":18446744073709551615}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"nothing","id":{}}"#,
                r#"{"jsonrpc":"2.0","error":-32600,"id":null}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"nothing","id":[1]}"#,
                r#"{"jsonrpc":"2.0","error":-32600,"id":null}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"nothing","id":true}"#,
                r#"{"jsonrpc":"2.0","error":-32600,"id":null}"#,
            ),
            // Which version, and what params are.
            (r#"{"jsonrpc":"1.0","method":"nothing","id":1}"#, r#"{"jsonrpc":"2.0","error":-32600,"id":1}"#),
            (r#"{"jsonrpc":2.0,"method":"nothing","id":1}"#, r#"{"jsonrpc":"2.0","error":-32600,"id":1}"#),
            (r#"{"method":"nothing","id":1}"#, r#"{"jsonrpc":"2.0","error":-32600,"id":1}"#),
            (
                r#"{"jsonrpc":"2.0","method":"nothing","params":null,"id":1}"#,
                r#"{"jsonrpc":"2.0","error":-32600,"id":1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"nothing","params":"x","id":1}"#,
                r#"{"jsonrpc":"2.0","error":-32600,"id":1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"nothing","params":[],"id":1}"#,
                r#"{"jsonrpc":"2.0","result":null,"id":1}"#,
            ),
            // Nothing, or not JSON.
            ("", r#"{"jsonrpc":"2.0","error":-32700,"id":null}"#),
            ("null", r#"{"jsonrpc":"2.0","error":-32600,"id":null}"#),
            ("\"x\"", r#"{"jsonrpc":"2.0","error":-32600,"id":null}"#),
            ("[[]]", r#"[{"jsonrpc":"2.0","error":-32600,"id":null}]"#),
            ("{}", r#"{"jsonrpc":"2.0","error":-32600,"id":null}"#),
            // An answer that somebody sends is no request.
            (r#"{"jsonrpc":"2.0","result":1,"id":1}"#, r#"{"jsonrpc":"2.0","error":-32600,"id":1}"#),
        ];
        for (message, expected) in table {
            expect(message, expected);
        }
        let deep = "[".repeat(100_000);
        expect(&deep, r#"{"jsonrpc":"2.0","error":-32700,"id":null}"#);
    }

    #[test]
    fn a_batch_has_an_end_and_its_calls_are_made_in_order() {
        let call = r#"{"jsonrpc":"2.0","method":"update"}"#;
        let batch = |count: usize| format!("[{}]", vec![call; count].join(","));
        expect(&batch(10), "");
        expect(&batch(11), r#"{"jsonrpc":"2.0","error":-32600,"id":null}"#);
        let examples = Examples::default();
        let batch = br#"[{"jsonrpc":"2.0","method":"sum"},{"jsonrpc":"2.0","method":"no"},{"jsonrpc":"2.0","method":"update"}]"#;
        let answer = futures_util::FutureExt::now_or_never(answer(batch, 10, &examples));
        assert_eq!(answer, Some(None), "three notifications, one of them an error");
        assert_eq!(*examples.heard.borrow(), ["sum", "no", "update"]);
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer_or_none_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let examples = Examples::default();
            let _ = futures_util::FutureExt::now_or_never(answer(&bytes, 10, &examples));
        }

        #[test]
        fn each_call_with_an_id_is_answered_once(ids in prop::collection::vec(prop::option::of(0u32..1000), 1..10)) {
            let calls: Vec<Value> = ids.iter().map(|id| match id {
                Some(id) => json!({ "jsonrpc": "2.0", "method": "sum", "params": [1], "id": id }),
                None => json!({ "jsonrpc": "2.0", "method": "sum", "params": [1] }),
            }).collect();
            let answered = ask(&Value::Array(calls).to_string());
            let answered: Vec<u64> = answered.iter().flat_map(|answers| answers.as_array().unwrap())
                .map(|answer| answer["id"].as_u64().unwrap()).collect();
            let expected: Vec<u64> = ids.iter().flatten().map(|id| u64::from(*id)).collect();
            prop_assert_eq!(answered, expected);
        }
    }
}
