"""An S3 server on this machine that checks signatures and enforces the policies of its users (moto)."""

import json

import boto3
import requests
from botocore.config import Config
from moto.server import ThreadedMotoServer

BUCKET = "example-billing"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class S3:
    """A server with one bucket, and an owner who may do everything."""

    def __init__(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        # What a server before this one held stays in the process.
        requests.post(f"{self.url}/moto-api/reset", timeout=120).raise_for_status()
        self.client("s3").create_bucket(Bucket=BUCKET)
        self.owner = self.user("owner", EVERYTHING)

    def client(self, service: str, key: str = "nobody", secret: str = "nothing"):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 0}),
        )

    def user(self, name: str, policy: dict) -> tuple[str, str]:
        """A user with this policy and nothing else; returns its access key and secret."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def lock(self) -> None:
        """From now on every request needs a signature and the right to it."""
        requests.post(f"{self.url}/moto-api/reset-auth", data=b"0", timeout=120).raise_for_status()

    def put(self, key: str, content: bytes) -> None:
        self.client("s3", *self.owner).put_object(Bucket=BUCKET, Key=key, Body=content)

    def stop(self) -> None:
        requests.post(f"{self.url}/moto-api/reset-auth", data=b"inf", timeout=120)
        self.server.stop()
