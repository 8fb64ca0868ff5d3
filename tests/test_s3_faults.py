"""The faults of the contract, on S3, and those of its multipart uploads."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from storages.backends.s3 import S3Storage
from tests.buckets import WiredBucket
from tests.faults import LARGE, MIB, READS, WRITES, HTTPCases, killed_writer, outcome, save

DEAD = {
    "silent": ReadTimeoutError,
    "unreachable": ConnectTimeoutError,
    "refused": EndpointConnectionError,
    "reset": ConnectionClosedError,  # of a stalled upload
}


@pytest.fixture(scope="module")
def one_bucket(seaweedfs):
    with WiredBucket(seaweedfs) as bucket:
        yield bucket


class TestS3Faults(HTTPCases):
    backend, server = "S3", "SeaweedFS"
    hasty = {"connect_timeout": 1, "read_timeout": 1, "max_attempts": 2}
    once = {"max_attempts": 1}
    clocks = ("storages.backends.s3_clients", "storages.readers", "botocore.endpoint")
    most_tries = {"silent": 1, "unreachable": 6, "refused": 3, "reset": 6}

    @pytest.fixture(autouse=True)
    def stand(self, one_bucket, wire):
        """A bucket; the wire is new, and so are the client and its quota of retries."""
        self.bucket, self.wire = one_bucket, wire
        one_bucket.wire = wire
        yield
        wire.heal()
        one_bucket.empty()

    def make_storage(self, **options):
        return self.bucket.storage(**options)

    def killed_options(self):
        return "storages.backends.s3.S3Storage", self.bucket.options()

    def put(self, name, content):
        self.bucket.put(name, content)

    def objects(self):
        return {key: self.bucket.get(key) for key in self.bucket.objects()}

    def leftovers(self):
        return self.bucket.uploads()

    def kill_network(self, monkeypatch, network_of):
        network = network_of(
            {how: lambda error=error: error(endpoint_url="http://dead") for how, error in DEAD.items()}
        )

        def send(session, request):
            network.fail((session._timeout.connect_timeout, session._timeout.read_timeout))

        monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", send)
        return network

    # Downloads: F-03, and uploads: F-05 to F-08

    @pytest.mark.fault("F-03")
    @pytest.mark.parametrize("fault", ["reset", "hang_up"])
    @pytest.mark.parametrize("deed", READS)
    def test_download_that_gets_further_every_time_is_an_error_at_last(self, storage, deed, fault):
        self.put("large.bin", LARGE)
        getattr(self.wire, fault)(down=300_000, times=None)
        with pytest.raises(ConnectionError):
            deed(storage)
        self.assert_works(storage)

    @pytest.mark.fault("F-06")
    @pytest.mark.fault("F-17")
    @pytest.mark.parametrize("deed", WRITES)
    def test_failed_single_put_leaves_what_was_there(self, storage, deed):
        self.wire.reset(up=MIB, times=None)
        with pytest.raises(OSError):
            deed(storage, "old.txt", LARGE[: 4 * MIB])
        self.assert_untouched()
        assert self.leftovers() == []
        self.assert_works(storage)

    @pytest.mark.fault("F-17")
    @pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
    @pytest.mark.parametrize("deed", WRITES)
    def test_multipart_write_that_fails_at_any_step_is_removed(self, storage, deed, operation):
        def fail(**_):
            raise ConnectionClosedError(endpoint_url="http://test")

        storage.client.meta.events.register(f"before-send.s3.{operation}", fail)
        with pytest.raises(ConnectionError):
            deed(storage, "old.txt")
        self.assert_untouched()
        assert self.leftovers() == []

    @pytest.mark.fault("F-05")
    def test_upload_whose_last_answer_is_lost_is_whole(self, storage):
        def lose_answer(**_):
            self.wire.reset(down=1)

        storage.client.meta.events.register("before-send.s3.CompleteMultipartUpload", lose_answer)
        outcome(save, storage, "new.bin")
        assert self.bucket.get("new.bin") == LARGE

    # Too busy: F-13

    @pytest.mark.fault("F-13")
    def test_busy_service_is_asked_as_often_as_the_option_says(self, naps):
        storage = self.make_storage()
        self.wire.slow_down(None)
        with pytest.raises(storage.client.exceptions.ClientError, match=r"SlowDown|503"):
            storage.listdir("")
        assert len(naps) >= storage.max_attempts - 1

    # F-20: killed writers

    @pytest.mark.fault("F-20")
    @pytest.mark.usefixtures("storage")
    def test_writer_killed_within_a_request_shows_nothing(self):
        self.wire.stall(up=2 * MIB)
        with killed_writer(*self.killed_options(), "old.txt"):
            while not any(exchange.request_body_bytes > MIB for exchange in self.wire.requests):
                time.sleep(0.01)
            self.wire.heal()
        self.assert_untouched()

    def test_stale_uploads_are_only_those_below_the_location(self):
        for key in ("inside/a.bin", "outside.bin"):
            self.bucket.client.create_multipart_upload(Bucket=self.bucket.name, Key=key)
        storage = self.make_storage(location="inside")
        assert [upload.key for upload in storage.stale_uploads(timedelta(0))] == ["inside/a.bin"]
        assert storage.abort_stale_uploads(timedelta(0)) == 1
        assert self.leftovers() == ["outside.bin"]


def test_defaults_are_the_documented_ones():
    config = S3Storage(bucket_name="bucket", endpoint_url="http://dead.invalid").client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 30)
    assert config.retries == {"mode": "standard", "total_max_attempts": 8}
    assert config.tcp_keepalive
