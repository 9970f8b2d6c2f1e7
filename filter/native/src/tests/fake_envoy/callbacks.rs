//! The functions of the ABI that the module calls.

use std::sync::Arc;

use super::state::{CHUNK, CURRENT, Owner, RUNTIME, STREAMS, Scheduled, at, instance, lock, within};
use crate::abi::{self, Address, Bytes, Header};
use crate::tests::messages::Headers;

// SAFETY, for every function: the name is the ABI's, and the test program has it once; addresses are those that the
// module hands over for the time of the call, or our own numbers.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log(_level: u32, line: Bytes) {
    if let Some(state) = instance(CURRENT.get()) {
        // SAFETY: see above.
        lock(&state).log.push(String::from_utf8_lossy(unsafe { line.read() }).into_owned());
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_get_runtime_int(key: Bytes, otherwise: u64) -> u64 {
    // SAFETY: see above.
    let key = String::from_utf8_lossy(unsafe { key.read() }).into_owned();
    RUNTIME.with_borrow(|runtime| runtime.get(&key).copied().unwrap_or(otherwise))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_header_value(
    _logged: Address,
    _map: u32,
    _name: Bytes,
    out: *mut Bytes,
    _index: usize,
    _count: *mut usize,
) -> bool {
    // SAFETY: see above.
    unsafe { *out = Bytes::of(b"/runtime_modify?suggest=1") };
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers_size(stream: Address, map: u32) -> usize {
    at(stream, |state| state.stream(stream).map(map).map_or(0, |headers| headers.len()))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers(stream: Address, map: u32, out: *mut Header) -> bool {
    at(stream, |state| {
        let Some(headers) = state.stream(stream).map(map) else { return false };
        for (place, header) in headers.borrowed().into_iter().enumerate() {
            // SAFETY: see above; the module has made room for as many.
            unsafe { out.add(place).write(Header::of(header)) };
        }
        true
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_add_header(
    stream: Address,
    map: u32,
    name: Bytes,
    value: Bytes,
) -> bool {
    // SAFETY: see above.
    let (name, value) = unsafe { (name.read(), value.read()) };
    at(stream, |state| state.stream(stream).map(map).map(|headers| headers.add(name, value)).is_some())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_header(
    stream: Address,
    map: u32,
    name: Bytes,
    value: Bytes,
) -> bool {
    // SAFETY: see above.
    let (name, read) = unsafe { (name.read(), value.read()) };
    let set =
        |headers: &mut Headers| if value.start.is_null() { headers.drop_all(name) } else { headers.put(name, read) };
    at(stream, |state| state.stream(stream).map(map).map(set).is_some())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_size(stream: Address, body: u32) -> usize {
    at(stream, |state| state.stream(stream).body(body).as_ref().map_or(0, Vec::len))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks_size(stream: Address, body: u32) -> usize {
    at(stream, |state| state.stream(stream).body(body).as_ref().map_or(0, |body| body.chunks(CHUNK).count()))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks(stream: Address, body: u32, out: *mut Bytes) -> bool {
    at(stream, |state| {
        let Some(body) = state.stream(stream).body(body) else { return false };
        for (place, chunk) in body.chunks(CHUNK).enumerate() {
            // SAFETY: see above; the module has made room for as many.
            unsafe { out.add(place).write(Bytes::of(chunk)) };
        }
        true
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
    stream: Address,
    attribute: u32,
    out: *mut Bytes,
) -> bool {
    let name = if attribute == abi::REQUEST_PATH { b":path".as_slice() } else { b":method" };
    at(stream, |state| {
        let headers = state.stream(stream).request.borrowed();
        let found = headers.iter().find(|(found, _)| *found == name);
        // SAFETY: see above.
        found.map(|(_, value)| unsafe { *out = Bytes::of(value) }).is_some()
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_append_body(stream: Address, body: u32, data: Bytes) -> bool {
    // SAFETY: see above.
    let data = unsafe { data.read() };
    let done =
        at(stream, |state| state.stream(stream).body(body).as_mut().map(|body| body.extend_from_slice(data)).is_some());
    within(stream, 0);
    done
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_continue_encoding(stream: Address) {
    at(stream, |state| state.stream(stream).goes_on());
    within(stream, 0);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_drain_body(stream: Address, body: u32, count: usize) -> bool {
    at(stream, |state| {
        let drain = |body: &mut Vec<u8>| *body = body.split_off(count.min(body.len()));
        state.stream(stream).body(body).as_mut().map(drain).is_some()
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_http_callout(
    stream: Address,
    id: *mut u64,
    cluster: Bytes,
    headers: *const Header,
    count: usize,
    body: Bytes,
    _timeout_ms: u64,
) -> u32 {
    let number = u32::try_from(stream.addr() % STREAMS).unwrap();
    begin(stream, id, Owner::Stream(number), cluster, (headers, count), body, true)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_http_callout(
    config: Address,
    id: *mut u64,
    cluster: Bytes,
    headers: *const Header,
    count: usize,
    body: Bytes,
    _timeout_ms: u64,
) -> u32 {
    begin(config, id, Owner::Configuration, cluster, (headers, count), body, true)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_start_http_stream(
    config: Address,
    id: *mut u64,
    cluster: Bytes,
    headers: *const Header,
    count: usize,
    body: Bytes,
    end: bool,
    _timeout_ms: u64,
) -> u32 {
    begin(config, id, Owner::Batch, cluster, (headers, count), body, end)
}

fn begin(
    address: Address,
    id: *mut u64,
    owner: Owner,
    cluster: Bytes,
    (headers, count): (*const Header, usize),
    body: Bytes,
    whole: bool,
) -> u32 {
    // SAFETY: see above.
    let headers = unsafe { abi::slice(headers, count) };
    match at(address, |state| state.begin(owner, cluster, headers, body, whole)) {
        Ok(call) => {
            // SAFETY: see above.
            unsafe { *id = call };
            within(address, call);
            abi::SUCCESS
        }
        Err(refused) => refused,
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_stream_send_data(
    config: Address,
    id: u64,
    data: Bytes,
    end: bool,
) -> bool {
    // SAFETY: see above.
    let data = unsafe { data.read() };
    let done = at(config, |state| {
        let Some(call) = state.calls.iter_mut().find(|call| u64::from(call.seen.token) == id) else { return false };
        call.seen.body.extend_from_slice(data);
        call.whole = end;
        if end {
            state.observed.count(&call.seen.path, &call.seen.body);
        }
        true
    });
    within(config, id);
    done
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_counter(
    config: Address,
    name: Bytes,
    _labels: *const Bytes,
    _labels_count: usize,
    id: *mut usize,
) -> u32 {
    // SAFETY: see above.
    let name = String::from_utf8_lossy(unsafe { name.read() }).into_owned();
    at(config, |state| {
        state.counters.push((name, 0));
        // SAFETY: see above.
        unsafe { *id = state.counters.len() - 1 };
    });
    abi::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_increment_counter(
    config: Address,
    id: usize,
    _labels: *const Bytes,
    _labels_count: usize,
    by: u64,
) -> u32 {
    assert!(by > 0, "Envoy takes no 0");
    at(config, |state| state.counters[id].1 += by);
    abi::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(config: Address) -> Address {
    let scheduled = Arc::<Scheduled>::default();
    at(config, |state| state.scheduled = Some(Arc::clone(&scheduled)));
    Arc::into_raw(scheduled).cast_mut().cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(scheduler: Address, event: u64) {
    // SAFETY: what `scheduler_new` made, and the module has not deleted.
    let scheduled = unsafe { &*scheduler.cast::<Scheduled>() };
    scheduled.lock().unwrap().push_back((event, std::thread::current().id()));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(scheduler: Address) {
    // SAFETY: what `scheduler_new` made, deleted once.
    drop(unsafe { Arc::from_raw(scheduler.cast_const().cast::<Scheduled>()) });
}
