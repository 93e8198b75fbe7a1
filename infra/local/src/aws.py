"""Calls of AWS services for which the local stack has no Rust SDK.

boto3 is part of the endpoint's Python environment anyway, while every SDK crate takes long to compile on the first run.
The first argument is the name of a function below. Its arguments come as a JSON object on standard input, and its result
goes to standard output as JSON.
"""

import json
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

# CloudFormation's waiter polls every 30 seconds by default.
WAIT = {"Delay": 0.05, "MaxAttempts": 2400}


def deploy(stack, template_url, parameters):
    """Creates or updates a stack and returns its outputs."""
    cloudformation = boto3.client("cloudformation")
    try:
        cloudformation.describe_stacks(StackName=stack)
        action, waiter = cloudformation.update_stack, "stack_update_complete"
    except ClientError as error:
        # CloudFormation's answer for a stack that does not exist.
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        action, waiter = cloudformation.create_stack, "stack_create_complete"
    try:
        action(
            StackName=stack,
            TemplateURL=template_url,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        cloudformation.get_waiter(waiter).wait(StackName=stack, WaiterConfig=WAIT)
    except WaiterError as error:
        sys.exit(f"{error}\n{failures(cloudformation, stack)}")
    except ClientError as error:
        if "No updates" not in str(error):
            raise
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def failures(cloudformation, stack):
    """Returns the events of the resources that failed, or of all resources if none did."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
    events = [event for page in pages for event in page["StackEvents"]][::-1]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return "\n".join(
        f"{event['LogicalResourceId']} {event['ResourceStatus']} {event.get('ResourceStatusReason', '')}"
        for event in failed or events
    )


def variables(functions):
    """Returns the environment variables of these functions together."""
    lambda_ = boto3.client("lambda")
    found = {}
    for function in functions:
        configuration = lambda_.get_function_configuration(FunctionName=function)
        found.update(configuration.get("Environment", {}).get("Variables", {}))
    return found


def invoke(function):
    """Invokes a function that needs no event, and returns its error, if it has one."""
    invoked = boto3.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    return invoked["Payload"].read().decode() if "FunctionError" in invoked else None


def logs(groups, streams):
    """Returns the time, log group and message of every line in the last streams of each group."""
    client = boto3.client("logs")
    lines = []
    for group in groups:
        found = client.describe_log_streams(
            logGroupName=group, orderBy="LastEventTime", descending=True, limit=streams
        )
        for stream in found["logStreams"]:
            events = client.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
            lines += [(event["timestamp"], group, event["message"]) for event in events["events"]]
    return lines


if __name__ == "__main__":
    try:
        json.dump(globals()[sys.argv[1]](**json.load(sys.stdin)), sys.stdout)
    except (BotoCoreError, ClientError) as error:
        sys.exit(str(error))
