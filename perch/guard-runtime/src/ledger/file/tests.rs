use super::*;

fn human() -> By {
    By::Human("ada".into())
}

fn set(to: &str) -> What {
    What::Set { from: None, to: to.into() }
}

#[tokio::test]
async fn many_writers_make_one_story() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path()).unwrap();
    let writers = (0..8).map(|writer| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            for at in 0..10 {
                let mut held = ledger.hold().await.unwrap();
                tokio::task::yield_now().await;
                held.append(at, By::Guard(writer.to_string()), set("10"), "").unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let numbers: Vec<u64> = ledger.read().unwrap().iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=80).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_line_that_was_cut_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path()).unwrap();
    ledger.hold().await.unwrap().append(1, human(), set("10"), "try").unwrap();
    let path = folder.path().join("ledger.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}{{\"number\":2,\"at")).unwrap();
    ledger.hold().await.unwrap().append(2, human(), set("20"), "more").unwrap();
    let entries = ledger.read().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[1].number, &entries[1].what), (2, &set("20")));
}

#[tokio::test]
async fn a_keyed_word_is_found_again_also_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path()).unwrap();
    ledger.hold().await.unwrap().append_keyed(1, human(), What::Pause, "", "form 1").unwrap();
    ledger.hold().await.unwrap().append(2, human(), What::Resume, "").unwrap();
    let held = ledger.hold().await.unwrap();
    assert_eq!(held.keyed("form 1").map(|entry| entry.number), Some(1));
    assert_eq!(held.keyed("form 2"), None);
}

#[tokio::test]
async fn operators_and_alerts_overtake_a_guard_and_guards_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path()).unwrap();
    let mut held = ledger.hold().await.unwrap();
    let decided_at = held.append(1, By::Guard("g".into()), set("10"), "").unwrap();
    held.append(2, By::Guard("g".into()), What::Froze, "").unwrap();
    held.append(2, human(), What::Refused { wanted: "20".into() }, "").unwrap();
    assert_eq!(held.overtaken(decided_at), None);
    held.append(3, human(), set("20"), "").unwrap();
    held.append(4, By::Guard("g".into()), What::Froze, "").unwrap();
    assert_eq!(held.overtaken(decided_at).map(|entry| entry.number), Some(4));
    assert_eq!(held.overtaken(4), None);
    held.append(5, By::Alert("agreement".into()), What::Rollback, "").unwrap();
    assert_eq!(held.overtaken(4).map(|entry| entry.number), Some(6));
}

/// Eight entries, and the lines of their file.
async fn eight(ledger: &Ledger, folder: &Path) -> Vec<u8> {
    let mut held = ledger.hold().await.unwrap();
    for at in 1..=8 {
        held.append(at, human(), set("10"), "as planned").unwrap();
    }
    std::fs::read(folder.join("ledger.jsonl")).unwrap()
}

#[tokio::test]
async fn case_6b_no_flipped_bit_removes_an_entry_or_goes_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path()).unwrap();
    let sound = eight(&ledger, folder.path()).await;
    let first = sound.iter().position(|&byte| byte == b'\n').unwrap();
    let path = folder.path().join("ledger.jsonl");
    for at in 0..=first {
        for bit in [0x01, 0x04, 0x80] {
            let mut bytes = sound.clone();
            bytes[at] ^= bit;
            std::fs::write(&path, &bytes).unwrap();
            let number = ledger.hold().await.unwrap().append(9, human(), What::Pause, "").unwrap();
            let log = ledger.log().unwrap();
            assert_eq!(number, 9, "byte {at}, bit {bit}");
            assert!(std::fs::read(&path).unwrap().starts_with(&bytes), "byte {at}: nothing is thrown away");
            let whole = log.entries.len() == 9 && log.entries[0].what == set("10") && log.entries[0].number == 1;
            assert!(whole || log.damage().is_some_and(|words| words.contains("line 1")), "byte {at}, bit {bit}");
            assert!(log.entries.len() >= 7 && log.last() == 9, "byte {at}, bit {bit}: {}", log.entries.len());
        }
    }
}

#[tokio::test]
async fn case_6b_after_the_log_was_lost_numbers_go_on_above_what_was_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path()).unwrap();
    eight(&ledger, folder.path()).await;
    std::fs::write(folder.path().join(STATUS_FILE), r#"{"orders_done":8,"at_ms":5}"#).unwrap();
    std::fs::remove_file(folder.path().join("ledger.jsonl")).unwrap();
    assert_eq!(ledger.hold().await.unwrap().append(9, human(), What::Pause, "").unwrap(), 9);
}

#[tokio::test]
async fn case_6c_bytes_that_are_not_text_are_a_damaged_line() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path()).unwrap();
    let sound = eight(&ledger, folder.path()).await;
    std::fs::write(folder.path().join("ledger.jsonl"), [&sound[..], b"\xff\xfe\n"].concat()).unwrap();
    let mut held = ledger.hold().await.unwrap();
    assert_eq!(held.log().damaged, [Damage { line: 9, after: 8 }]);
    assert_eq!(held.append(9, human(), What::Pause, "").unwrap(), 10, "the line may have been entry 9");
    assert_eq!(ledger.read().unwrap().len(), 9);
}

#[tokio::test]
async fn an_entry_without_its_line_end_counts_and_the_next_one_is_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path()).unwrap();
    let sound = eight(&ledger, folder.path()).await;
    std::fs::write(folder.path().join("ledger.jsonl"), sound.trim_ascii_end()).unwrap();
    assert_eq!(ledger.hold().await.unwrap().append(9, human(), What::Pause, "").unwrap(), 9);
    assert_eq!(ledger.read().unwrap().len(), 9);
}
