use serde_json::json;

use super::*;

fn statuses(message: &Value) -> Vec<Report> {
    parse(message.to_string().as_bytes()).unwrap()
}

#[test]
fn only_what_somebody_reads_is_kept() {
    let [Report::Status { full: true, fields }] = &statuses(
        &json!({ "print": { "msg": 0, "mc_percent": 5, "junk": [1, 2], "net": {} }, "junk": 1 }),
    )[..] else {
        panic!("no status");
    };
    assert_eq!(Value::from(fields.clone()), json!({ "mc_percent": 5 }));
}

#[test]
fn more_than_any_printer_sends_is_refused_and_a_large_report_is_not() {
    let deep = "[".repeat(40) + &"]".repeat(40);
    let list = vec![0; LIST + 1];
    let many: Vec<Vec<u8>> = vec![vec![0; 100]; VALUES / 100 + 1];
    for (value, words) in [
        (serde_json::from_str(&deep).unwrap(), "too deeply"),
        (json!(list), "too long"),
        (json!(many), "too many"),
    ] {
        let message = json!({ "print": { "hms": value } }).to_string();
        let error = parse(message.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(matches!(parse(&vec![b' '; MESSAGE_LIMIT + 1]), Err(Unfit::TooLong(_))));
    let junk: Map<String, Value> = (0..20_000).map(|key| (format!("junk {key}"), json!([key]))).collect();
    let mut print = junk;
    print.insert("mc_percent".into(), json!(3));
    let message = json!({ "print": print }).to_string();
    assert!(message.len() > 36 * 1024);
    assert_eq!(statuses(&json!({ "print": { "mc_percent": 3 } })), parse(message.as_bytes()).unwrap());
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let [Report::Status { fields, .. }] =
        &statuses(&json!({ "print": { "subtask_name": format!("x{}", "é".repeat(TEXT)) } }))[..]
    else {
        panic!("no status");
    };
    let text = fields["subtask_name"].as_str().unwrap();
    assert_eq!(text.len(), TEXT - 1);
}

#[test]
fn what_is_no_report_is_told_or_is_nothing() {
    for broken in ["", "{", "{\"print\":{}}x", "nonsense", "\u{0}"] {
        assert!(parse(broken.as_bytes()).is_err(), "{broken:?}");
    }
    for nothing in [
        json!(1),
        json!([]),
        json!({}),
        json!({ "print": 1 }),
        json!({ "info": { "command": "get_version" } }),
    ] {
        assert_eq!(statuses(&nothing), [], "{nothing}");
    }
}
