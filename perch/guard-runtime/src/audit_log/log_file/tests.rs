use super::*;

fn operator() -> Actor {
    Actor::Operator("ada".into())
}

fn set(to: &str) -> Event {
    Event::ShareSet { from: None, to: to.into() }
}

#[tokio::test]
async fn entries_of_many_writers_are_numbered_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let audit_log = AuditLog::in_folder(folder.path()).unwrap();
    let writers = (0..8).map(|writer| {
        let audit_log = audit_log.clone();
        tokio::spawn(async move {
            for at in 0..10 {
                let mut held = audit_log.lock().await.unwrap();
                tokio::task::yield_now().await;
                held.append(at, Actor::Guard(writer.to_string()), set("10"), "").unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let numbers: Vec<u64> = audit_log.read().unwrap().iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=80).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_line_that_was_cut_short_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let audit_log = AuditLog::in_folder(folder.path()).unwrap();
    audit_log.lock().await.unwrap().append(1, operator(), set("10"), "try").unwrap();
    let path = folder.path().join("audit_log.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}{{\"number\":2,\"at")).unwrap();
    audit_log.lock().await.unwrap().append(2, operator(), set("20"), "more").unwrap();
    let entries = audit_log.read().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[1].number, &entries[1].event), (2, &set("20")));
}

#[tokio::test]
async fn an_entry_with_a_key_is_found_again_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let audit_log = AuditLog::in_folder(folder.path()).unwrap();
    audit_log.lock().await.unwrap().append_with_key(1, operator(), Event::Pause, "", "form 1").unwrap();
    audit_log.lock().await.unwrap().append(2, operator(), Event::Resume, "").unwrap();
    let held = audit_log.lock().await.unwrap();
    assert_eq!(held.find_by_key("form 1").map(|entry| entry.number), Some(1));
    assert_eq!(held.find_by_key("form 2"), None);
}

#[tokio::test]
async fn operators_and_alerts_supersede_a_guard_and_guards_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let audit_log = AuditLog::in_folder(folder.path()).unwrap();
    let mut held = audit_log.lock().await.unwrap();
    let decided_at = held.append(1, Actor::Guard("g".into()), set("10"), "").unwrap();
    held.append(2, Actor::Guard("g".into()), Event::Frozen, "").unwrap();
    held.append(2, operator(), Event::Rejected { requested: "20".into() }, "").unwrap();
    assert_eq!(held.superseding_entry(decided_at), None);
    held.append(3, operator(), set("20"), "").unwrap();
    held.append(4, Actor::Guard("g".into()), Event::Frozen, "").unwrap();
    assert_eq!(held.superseding_entry(decided_at).map(|entry| entry.number), Some(4));
    assert_eq!(held.superseding_entry(4), None);
    held.append(5, Actor::Alert("agreement".into()), Event::Rollback, "").unwrap();
    assert_eq!(held.superseding_entry(4).map(|entry| entry.number), Some(6));
}

/// Eight entries, and the lines of their file.
async fn eight(audit_log: &AuditLog, folder: &Path) -> Vec<u8> {
    let mut held = audit_log.lock().await.unwrap();
    for at in 1..=8 {
        held.append(at, operator(), set("10"), "as planned").unwrap();
    }
    std::fs::read(folder.join("audit_log.jsonl")).unwrap()
}

#[tokio::test]
async fn case_6b_no_flipped_bit_removes_an_entry_or_goes_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let audit_log = AuditLog::in_folder(folder.path()).unwrap();
    let sound = eight(&audit_log, folder.path()).await;
    let first = sound.iter().position(|&byte| byte == b'\n').unwrap();
    let path = folder.path().join("audit_log.jsonl");
    for at in 0..=first {
        for bit in [0x01, 0x04, 0x80] {
            let mut bytes = sound.clone();
            bytes[at] ^= bit;
            std::fs::write(&path, &bytes).unwrap();
            let number = audit_log.lock().await.unwrap().append(9, operator(), Event::Pause, "").unwrap();
            let log = audit_log.contents().unwrap();
            assert_eq!(number, 9, "byte {at}, bit {bit}");
            assert!(std::fs::read(&path).unwrap().starts_with(&bytes), "byte {at}: nothing is thrown away");
            let whole = log.entries.len() == 9 && log.entries[0].event == set("10") && log.entries[0].number == 1;
            assert!(whole || log.damage().is_some_and(|words| words.contains("line 1")), "byte {at}, bit {bit}");
            assert!(log.entries.len() >= 7 && log.last() == 9, "byte {at}, bit {bit}: {}", log.entries.len());
        }
    }
}

#[tokio::test]
async fn case_6b_after_the_log_was_lost_numbers_continue_above_the_last_command() {
    let folder = tempfile::tempdir().unwrap();
    let audit_log = AuditLog::in_folder(folder.path()).unwrap();
    eight(&audit_log, folder.path()).await;
    std::fs::write(folder.path().join(STATUS_FILE), r#"{"last_command":8,"at_ms":5}"#).unwrap();
    std::fs::remove_file(folder.path().join("audit_log.jsonl")).unwrap();
    assert_eq!(audit_log.lock().await.unwrap().append(9, operator(), Event::Pause, "").unwrap(), 9);
}

#[tokio::test]
async fn case_6c_bytes_that_are_not_text_are_a_damaged_line() {
    let folder = tempfile::tempdir().unwrap();
    let audit_log = AuditLog::in_folder(folder.path()).unwrap();
    let sound = eight(&audit_log, folder.path()).await;
    std::fs::write(folder.path().join("audit_log.jsonl"), [&sound[..], b"\xff\xfe\n"].concat()).unwrap();
    let mut held = audit_log.lock().await.unwrap();
    assert_eq!(held.contents().damaged, [DamagedLine { line: 9, after: 8 }]);
    assert_eq!(held.append(9, operator(), Event::Pause, "").unwrap(), 10, "the line may have been entry 9");
    assert_eq!(audit_log.read().unwrap().len(), 9);
}

#[tokio::test]
async fn an_entry_without_its_line_end_counts_and_the_next_one_is_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let audit_log = AuditLog::in_folder(folder.path()).unwrap();
    let sound = eight(&audit_log, folder.path()).await;
    std::fs::write(folder.path().join("audit_log.jsonl"), sound.trim_ascii_end()).unwrap();
    assert_eq!(audit_log.lock().await.unwrap().append(9, operator(), Event::Pause, "").unwrap(), 9);
    assert_eq!(audit_log.read().unwrap().len(), 9);
}
