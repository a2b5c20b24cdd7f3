"""Where each kind of bad input is tested: 92 of them, by number, and what was decided otherwise than is usual."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BAD = "tests/stages/test_bad_input.py"
NUMBER = "tests/stages/test_decode_number.py"
JSON = "tests/stages/test_decode_json.py"
SENML = "tests/stages/test_decode_senml.py"
STREAMS = "tests/test_hostile_streams.py"
PIPELINE = "tests/test_pipeline.py"
BUNDLE = "tests/test_bundle.py"
HOSTILE = "tests/test_bundle_hostile.py"
ENGINE = "tests/core/test_engine.py"
CACHE = "tests/core/test_cache.py"
CORPUS = "tests/daemon/test_config_corpus.py"
ENVIRONMENT = "tests/test_environment.py"
MQTT = "tests/daemon/test_mqtt.py"
SESSION = "tests/daemon/test_session.py"
FUZZ = "tests/fuzz/test_fuzz.py"

CASES: dict[int, tuple[str, ...]] = {
    # MQTT
    1: (f"{MQTT}::test_a_topic_that_is_not_text_is_counted",),
    2: (f"{BAD}::test_topics",),  # 65,535 bytes
    3: (f"{BAD}::test_topics", "tests/stages/test_topics.py::test_match"),  # empty levels
    4: (f"{BAD}::test_topics", "tests/stages/test_topics.py::test_match"),  # $SYS
    5: (f"{BAD}::test_topics", f"{BAD}::test_keys_that_can_t_name_a_channel",
        "tests/daemon/test_end_to_end.py::test_a_name_that_brokers_do_not_take_is_no_way_to_cut_us_off"),  # NUL, bidi
    6: (f"{CORPUS}::test_a_bad_configuration_is_refused_with_a_line_for_each_problem",
        f"{PIPELINE}::test_bad_messages_are_counted_and_leave_nothing"),  # our own topics
    7: (f"{BAD}::test_retained",),
    8: ("tests/faults/test_kills.py::test_samples_without_a_time_of_their_own_never_step_twice",),  # redelivery
    9: (f"{MQTT}::test_an_acknowledgement_does_not_outlive_its_connection",),
    10: (f"{BAD}::test_catalogue",),  # no bytes
    11: (f"{BAD}::test_catalogue", f"{MQTT}::test_a_payload_that_no_decoder_takes_is_not_kept"),  # 64 KiB + 1
    12: ("tests/daemon/test_hostile_broker.py::test_an_enormous_packet_takes_no_memory",),
    13: ("tests/faults/test_neighbors.py::test_ten_thousand_retained_messages",),
    14: (f"{MQTT}::test_what_is_kept_is_bounded_in_bytes", "tests/faults/test_overload.py::test_overload"),
    15: ("tests/daemon/test_hostile_broker.py::test_a_broker_that_trickles_is_left",),
    16: (f"{SESSION}::test_a_refusal_is_a_problem_and_no_end",
         f"{SESSION}::test_a_refused_subscription_is_asked_for_again"),
    17: (f"{SESSION}::test_no_more_messages_are_under_way_than_the_broker_takes",
         f"{SESSION}::test_nothing_is_sent_that_is_too_long_for_the_broker",
         f"{SESSION}::test_a_broker_that_wants_to_hear_from_us_often_does"),
    18: ("tests/daemon/test_hostile_broker.py::test_random_frames",),
    19: ("tests/daemon/test_dial.py::test_a_rival_is_left_alone_for_a_minute",),
    20: (f"{SESSION}::test_a_refused_message_is_counted",),
    # payloads
    **{n: (f"{BAD}::test_catalogue", f"{BAD}::test_every_decoder_stands_the_catalogue") for n in range(21, 38)},
    38: (f"{NUMBER}::test_refuses",),  # 1_000, Arabic digits, ' 21.5\\n'
    39: (f"{NUMBER}::test_refuses", f"{BAD}::test_catalogue"),  # unknown, unavailable, None
    40: (f"{NUMBER}::test_refuses", f"{NUMBER}::test_also_reads"),  # ON, OFF
    41: (f"{STREAMS}::test_another_unit_is_out_of_range",),
    42: (f"{STREAMS}::test_a_block_out_of_order_is_put_in_order", f"{BAD}::test_catalogue"),
    43: (f"{SENML}::test_reads", f"{SENML}::test_refuses"),
    44: (f"{BAD}::test_catalogue", f"{SENML}::test_refuses"),  # gzip, CBOR, protobuf
    45: (f"{BAD}::test_catalogue", f"{STREAMS}::test_names_are_only_ever_names"),
    46: (f"{STREAMS}::test_a_firmware_update_that_moves_a_field_leaves_others_alone", f"{JSON}::test_refuses"),
    # numbers and state
    47: (f"{STREAMS}::test_a_sample_without_a_value_changes_nothing",
         f"{ENGINE}::test_a_refused_sample_changes_nothing_but_the_count_of_stale_ones"),
    48: (f"{STREAMS}::test_the_largest_numbers_are_clamped_and_marked_for_any_length_of_time",),
    49: (f"{STREAMS}::test_a_stuck_sensor_is_an_alert_and_its_scores_go_on",),
    50: ("tests/core/test_maths.py::test_quantize_rounds_half_to_even",),
    51: (f"{BUNDLE}::test_int32_bound", f"{BUNDLE}::test_widest_sum_does_not_overflow",
         "tests/core/test_dot.py::test_sums_are_exact"),
    52: (f"{BUNDLE}::test_bad_tensors",),
    53: ("tests/core/test_maths.py::test_sigmoid32", "tests/core/test_maths.py::test_exp64"),
    54: ("tests/core/test_variants.py::test_bounds_are_kept", f"{ENGINE}::test_wrong_shapes_are_refused"),
    55: (f"{ENGINE}::test_any_doubles_leave_the_state_finite", f"{ENGINE}::test_restore_refuses_what_does_not_fit",
         f"{BUNDLE}::test_extreme_but_allowed_numbers_stay_finite"),
    56: ("tests/stages/test_align.py::test_join", "tests/stages/test_align.py::test_no_value_is_lost_doubled_or_mixed",
         f"{STREAMS}::test_one_missing_value_is_bridged_and_marked"),
    57: ("tests/core/test_dot.py::test_sums_are_exact",),  # loops of our own
    # time
    58: (f"{PIPELINE}::test_rows_that_are_not_taken_are_counted_by_reason",),
    59: (f"{STREAMS}::test_the_first_sample_of_a_moment_wins",),
    60: (f"{STREAMS}::test_any_date_is_a_date", f"{STREAMS}::test_other_units_of_time_are_refused"),
    61: (f"{STREAMS}::test_a_clock_that_is_set_back_is_believed_after_ten_samples",),
    62: ("tests/daemon/test_hearing.py::test_time_counts_once_the_broker_is_heard_again",),
    63: ("tests/daemon/test_hearing.py::test_a_long_lull_does_not_count",
         "tests/daemon/test_dial.py::test_a_process_that_stood_still_does_not_blame_the_broker"),
    64: (f"{PIPELINE}::test_a_gap_starts_and_ends_at_once",),
    65: (f"{STREAMS}::test_a_backlog_scores_as_if_it_had_come_in_time",),
    66: (f"{PIPELINE}::test_silence_starts_and_ends",),
    67: (f"{STREAMS}::test_a_sequence_number_that_starts_again_means_nothing",),
    # names
    68: (f"{STREAMS}::test_ten_thousand_topics_cost_no_more_than_the_streams_that_are_let_in",
         f"{PIPELINE}::test_too_many_streams"),
    69: (f"{STREAMS}::test_names_are_only_ever_names", f"{BAD}::test_topics"),
    70: (f"{STREAMS}::test_streams_of_other_names_have_other_topics",),
    71: ("tests/stages/test_encode.py::test_topics", f"{STREAMS}::test_names_are_only_ever_names"),
    72: (f"{CORPUS}::test_a_bad_configuration_is_refused_with_a_line_for_each_problem",),
    # bundles
    73: (f"{BUNDLE}::test_bad_tensors",),
    **{n: (f"{HOSTILE}::test_headers_that_promise_too_much",) for n in (74, 75, 76, 77)},
    78: (f"{BUNDLE}::test_another_gate_order_is_caught", f"{BUNDLE}::test_bad_tensors"),
    79: (f"{BUNDLE}::test_bad_tensors",),
    80: (f"{BUNDLE}::test_bad_document", f"{HOSTILE}::test_other_programs_models_are_named_and_never_opened"),
    # checkpoint, cache, surroundings
    81: (f"{FUZZ}::test_nearly_valid_input_is_read_or_refused",
         "tests/faults/test_kept.py::test_a_state_that_is_not_understood_is_a_cold_start"),
    82: (f"{ENGINE}::test_restore_refuses_what_does_not_fit",),
    83: ("tests/faults/test_writer.py::test_a_writer_that_is_killed",),
    84: ("tests/faults/test_disk.py::test_a_full_disk", "tests/faults/test_disk.py::test_a_folder_that_vanishes"),
    85: (f"{CACHE}::test_what_is_damaged_is_compiled_again",),
    86: (f"{CACHE}::test_what_can_t_be_kept_runs_all_the_same", f"{CACHE}::test_without_a_place_kernels_are_compiled",
         f"{ENVIRONMENT}::test_without_a_home_or_a_place_for_a_cache"),
    87: (f"{CACHE}::test_a_directory_that_others_may_write_to_is_not_used",
         f"{CACHE}::test_a_directory_of_somebody_else_is_not_used"),
    88: (f"{CACHE}::test_another_processor_has_kernels_of_its_own",),
    89: (f"{ENVIRONMENT}::test_a_bundle_computes_the_same_anywhere", f"{ENVIRONMENT}::test_without_standard_input"),
    90: (f"{CORPUS}::test_a_bad_configuration_is_refused_with_a_line_for_each_problem",
         "tests/daemon/test_secrets.py::test_nobody_else_may_read_it"),
    91: (),
    92: ("tests/daemon/test_logs.py::test_nobody_who_reads_is_waited_for",
         "tests/daemon/test_logs.py::test_a_process_ends_though_nobody_reads"),
}  # fmt: skip

OTHERWISE = {
    4: "no reason of its own: '#' never matches $SYS (MQTT 4.7.2); if one comes, it is bad_topic or no_route",
    26: "a number in a string is bad_type unless coerce = true; the message says so",
    31: "a byte order mark is bad_json, in payloads as in configurations",
    32: "text that is not UTF-8 makes the whole payload bad_utf8, also in a field that nobody reads",
    37: "denormals and -0.0 are taken as they are: the same bits everywhere need no flushing",
    41: "no ranges are declared: a value outside of all that the stream had is judged, and an out_of_range alert",
    42: "a block may have 4,096 samples; it is put in order, and taken whole or not at all",
    55: "no check after each step: finite in, finite out is proved by tests; a restored state is checked",
    59: "another value for the same time is a duplicate too: the first one wins",
    60: "any date within 3,000 years is taken: recordings and devices without a clock have an order in time, too",
    61: "ten stale samples in rising order, not three, and only from far back; near ones may have been sent again",
    65: "no alert is marked late: its times say so",
    67: "sequence numbers are not read",
    69: "names are kept as they are, and never become a path; there is no slug",
    70: "names are escaped, not shortened: other names have other topics",
    71: "there are no Prometheus labels",
    73: "bundles may be links and belong to anybody: nothing in one is executable, and each is checked and replayed",
    80: "the SHA-256 is in the file, not in the configuration; scores name the bundle by its first digits",
    90: "long client ids are not warned of: every broker of today takes them",
    91: "there is no web page and no metrics port",
}


@cache
def functions_of(path: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_kind_of_bad_input_has_its_test() -> None:
    assert sorted(CASES) == list(range(1, 93))
    assert all(CASES[n] or n in OTHERWISE for n in CASES)


@pytest.mark.parametrize("test", sorted({test for tests in CASES.values() for test in tests}))
def test_each_of_them_exists(test: str) -> None:
    path, _, name = test.partition("::")
    if path.startswith("tests/faults/") and not (ROOT / "tests" / "faults").is_dir():
        pytest.skip("a checkout without fault injection")
    assert name in functions_of(path)
