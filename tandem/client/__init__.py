"""What channel adapters use: customers' messages in, replies out, and nothing of Kafka.

async with Channel("webhook", tenant="acme") as channel:
    await channel.submit(thread, text, id=message_id)        # returns once the bus has it
    async for reply in channel.replies():                    # this channel's only, in order, without duplicates
        async with reply:                                    # receipt and commit on a clean exit
            await post(reply.thread, reply.text)
"""

from tandem.client.channel import Channel, Incoming, Tandem

__all__ = ["Channel", "Incoming", "Tandem"]
