/* A program that only waits: the pause of a Pod, and its workload. */
#include <signal.h>
#include <unistd.h>

static void end(int signal) { _exit(0); }

int main(void) {
	signal(SIGTERM, end);
	signal(SIGINT, end);
	for (;;)
		pause();
}
