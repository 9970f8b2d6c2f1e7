//! No skew: a row exported for training is the row that is computed when the same transaction is served.

use std::collections::HashMap;
use std::path::Path;

use suggestions::export;
use suggestions::features::{self, WIDTH};
use suggestions::generator::{self, Plan};

use crate::fixture::{each, found};

/// The numbers of a `.npy` file, `size` bytes each.
fn array<const SIZE: usize>(folder: &Path, name: &str) -> Vec<[u8; SIZE]> {
    let bytes = std::fs::read(folder.join(format!("{name}.npy"))).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[start..].chunks_exact(SIZE).map(|chunk| chunk.try_into().unwrap()).collect()
}

fn number<T: TryFrom<i64>>(bytes: [u8; 8]) -> T {
    T::try_from(i64::from_le_bytes(bytes)).ok().unwrap()
}

#[tokio::test]
async fn exported_rows_and_served_rows_are_equal_bit_by_bit() {
    let plan = Plan { users: 25, payments_per_user: 60.0, ..Plan::default() };
    let payments = generator::generate(&plan);
    let mut exports = Vec::new();
    for fresh in each().await {
        let store = &fresh.store;
        generator::write(store, &payments, |_, _| {}).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let summary = export::run(store, folder.path(), |_, _| {}).await.unwrap();
        let labelled = payments.iter().filter(|payment| payment.label.is_some()).count();
        assert_eq!(summary.rows, labelled as u64);

        let ids: Vec<i64> = array(folder.path(), "id").into_iter().map(number).collect();
        let indptr: Vec<usize> = array(folder.path(), "indptr").into_iter().map(number).collect();
        let indices = array::<2>(folder.path(), "indices");
        let values = array::<4>(folder.path(), "values");
        assert_eq!(indptr.last(), Some(&indices.len()));
        let served: HashMap<i64, _> =
            found(store, &ids).await.unwrap().into_iter().map(|served| (served.id, served)).collect();
        let mut with_history = 0;
        for (at, id) in ids.iter().enumerate() {
            let mut exported = vec![0_u32; WIDTH];
            for place in indptr[at]..indptr[at + 1] {
                exported[usize::from(u16::from_le_bytes(indices[place]))] = u32::from_le_bytes(values[place]);
            }
            let mut row = vec![0.0_f32; WIDTH];
            features::encode(&served[id].transaction, &served[id].history, &mut row).unwrap();
            let row: Vec<u32> = row.iter().map(|value| value.to_bits()).collect();
            assert_eq!(exported, row, "transaction {id}");
            with_history += usize::from(!served[id].history.is_empty());
        }
        assert!(with_history * 2 > ids.len(), "most rows have a history, {with_history} of {}", ids.len());
        let files = ["indptr", "indices", "values", "id", "time", "label", "rules", "brand"];
        exports.push(files.map(|name| std::fs::read(folder.path().join(format!("{name}.npy"))).unwrap()));
    }
    assert!(exports.windows(2).all(|pair| pair[0] == pair[1]), "both stores give the same bytes");
}
