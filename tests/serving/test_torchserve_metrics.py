"""serving/torchserve_metrics.py: TorchServe's own text of metrics, under the bundle's labels."""

from prometheus_client import CollectorRegistry, generate_latest

from serving.torchserve_metrics import BATCHES, batch_sizes, families

TEXT = """# HELP Requests2XX Torchserve prometheus counter metric with unit: Count
# TYPE Requests2XX counter
Requests2XX{Level="Host",Hostname="here",} 128.0
# HELP ts_inference_requests_total Torchserve prometheus counter metric with unit: Count
# TYPE ts_inference_requests_total counter
ts_inference_requests_total{model_name="intents",model_version="default",hostname="here",} 3.0
# HELP PreprocessTime Torchserve prometheus histogram metric with unit: seconds
# TYPE PreprocessTime histogram
PreprocessTime_bucket{ModelName="digits",Level="Model",Hostname="here",le="0.005",} 1.0
PreprocessTime_bucket{ModelName="digits",Level="Model",Hostname="here",le="+Inf",} 2.0
PreprocessTime_count{ModelName="digits",Level="Model",Hostname="here",} 2.0
PreprocessTime_sum{ModelName="digits",Level="Model",Hostname="here",} 0.5
# HELP Batches Torchserve prometheus counter metric with unit: count
# TYPE Batches counter
Batches{ModelName="digits",ModelVersion="1.0",Size="8",Level="Model",Hostname="here",} 4.0
"""


def test_names_stay_and_labels_become_ours():
    found = families(TEXT)

    class Found(CollectorRegistry):
        def collect(self):
            return found.values()

    lines = generate_latest(Found()).decode().splitlines()
    assert "Requests2XX 128.0" in lines and "# TYPE Requests2XX untyped" in lines
    assert 'ts_inference_requests_total{model="intents",version="default"} 3.0' in lines
    assert "# TYPE ts_inference_requests_total counter" in lines
    assert 'PreprocessTime_bucket{le="0.005",model="digits"} 1.0' in lines and 'PreprocessTime_sum{model="digits"} 0.5' in lines


def test_batches_are_found_by_their_size():
    assert [*batch_sizes(families(TEXT)[BATCHES])] == [(("digits", "1.0"), 8, 4.0)]
    assert [*batch_sizes(None)] == []
