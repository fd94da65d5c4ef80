// The Verilated core on a board: its clock, a memory behind each AXI master, and the AXI4-Lite side, as
// a C interface for ctypes. Everything is deterministic. Two phases a cycle: with the clock low the
// memory's signals are set and what the core answers is seen; the rising edge then moves both.
#include "Vaggregate.h"
#include "verilated.h"
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>

// A field of every port, or of the first alone, chosen at run time.
#define PORT(p, name) (*((p) ? &core.m_axi_1_##name : &core.m_axi_0_##name))

namespace {

constexpr int LONGEST_BATCH = 4000000;  // cycles

// In cycles of the core; model.py's Timing explains each.
struct Timing {
  uint32_t latency, outstanding, gap, write_latency;
  double stall, row_miss, line, four_activates, refresh_every, refresh;
  uint32_t share, seed;
};

struct Read { uint32_t address; uint16_t beats; uint64_t ready; };
struct Write { uint32_t address; uint16_t beats; };

// What a master must not do, counted.
enum Violation { PAGE, UNSTABLE, WLAST, WDATA, LENGTH, VIOLATIONS };

struct Port {
  std::deque<Read> reads;
  std::deque<Write> writes;
  std::deque<std::pair<uint64_t, uint8_t>> answers;  // when, response
  uint16_t beat = 0;
  uint64_t idle_until = 0;
  bool offered = false, answer_offered = false, failed = false;
  bool ar_waited = false, aw_waited = false, w_waited = false;
  uint32_t araddr = 0, awaddr = 0;
  uint8_t arlen = 0, awlen = 0;
  uint64_t wdata = 0;
  uint64_t open_writes() const { return writes.size() + answers.size(); }
};

// Eight banks whose rows close after each access, four activations in a window, one data bus, and
// refreshes that stop it all. Times in cycles of the core.
struct Dram {
  double bank[8] = {}, bus = 0, activated[4] = {};
  int at = 0;
  double access(const Timing& timing, uint32_t address, uint32_t bytes, double when) {
    int which = (address >> 12) & 7;
    double start = when;
    for (double busy : {bank[which], bus, activated[at] + timing.four_activates})
      if (busy > start) start = busy;
    if (timing.refresh_every > 0) {
      double into = start - timing.refresh_every * (uint64_t)(start / timing.refresh_every);
      if (into < timing.refresh) start += timing.refresh - into;
    }
    uint32_t lines = ((address + bytes - 1) >> 5) - (address >> 5) + 1;
    activated[at] = start;
    at = (at + 1) & 3;
    bank[which] = start + timing.row_miss;
    bus = start + lines * timing.line;
    return start;
  }
};

struct Board {
  VerilatedContext context;
  Vaggregate core{&context};
  uint8_t* memory;
  uint64_t size;
  uint32_t base;
  Timing timing{};
  Port ports[2];
  Dram dram;
  uint64_t cycle = 0, violations[VIOLATIONS] = {}, longest_queue = 0;
  uint64_t read_beats = 0, write_beats = 0;
  uint32_t random = 1;

  uint32_t draw() {
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    return random;
  }
  bool stalled() { return timing.stall > 0 && draw() < timing.stall * 4294967295.0; }
  bool inside(uint32_t address, uint32_t bytes) const {
    return address >= base && (uint64_t)(address - base) + bytes <= size;
  }

  uint64_t ready_at(uint32_t address, uint32_t bytes) {
    double when = (double)cycle + timing.latency;
    if (timing.line <= 0) return (uint64_t)when;
    double start = dram.access(timing, address, bytes, when);
    // The other ports of the board ask for as much, elsewhere.
    for (uint32_t other = 1; other < timing.share; other++)
      dram.access(timing, draw() << 6, bytes, when);
    return (uint64_t)start;
  }

  void offer(int p) {
    Port& port = ports[p];
    PORT(p, arready) = port.reads.size() < timing.outstanding && !stalled();
    PORT(p, awready) = port.writes.size() < timing.outstanding && !stalled();
    PORT(p, wready) = !port.writes.empty() && !stalled();
    if (!port.offered && !port.reads.empty() && port.reads.front().ready <= cycle &&
        port.idle_until <= cycle && !stalled())
      port.offered = true;
    PORT(p, rvalid) = port.offered;
    if (port.offered) {
      const Read& read = port.reads.front();
      uint32_t address = read.address + 8u * port.beat;
      uint64_t word = 0xDEADBEEFDEADBEEFull;
      bool ours = inside(address, 8);
      if (ours) memcpy(&word, memory + (address - base), 8);
      PORT(p, rdata) = word;
      PORT(p, rresp) = ours ? 0 : 3;
      PORT(p, rlast) = port.beat + 1 == read.beats;
    }
    if (!port.answer_offered && !port.answers.empty() && port.answers.front().first <= cycle &&
        !stalled())
      port.answer_offered = true;
    PORT(p, bvalid) = port.answer_offered;
    if (port.answer_offered) PORT(p, bresp) = port.answers.front().second;
  }

  // What is valid must stay as it is until it is ready.
  void check(int p) {
    Port& port = ports[p];
    bool steady = (!port.ar_waited || (PORT(p, arvalid) && PORT(p, araddr) == port.araddr &&
                                       PORT(p, arlen) == port.arlen)) &&
                  (!port.aw_waited || (PORT(p, awvalid) && PORT(p, awaddr) == port.awaddr &&
                                       PORT(p, awlen) == port.awlen)) &&
                  (!port.w_waited || (PORT(p, wvalid) && PORT(p, wdata) == port.wdata));
    if (!steady) violations[UNSTABLE]++;
    port.ar_waited = PORT(p, arvalid) && !PORT(p, arready);
    port.aw_waited = PORT(p, awvalid) && !PORT(p, awready);
    port.w_waited = PORT(p, wvalid) && !PORT(p, wready);
    port.araddr = PORT(p, araddr), port.arlen = PORT(p, arlen);
    port.awaddr = PORT(p, awaddr), port.awlen = PORT(p, awlen);
    port.wdata = PORT(p, wdata);
    if (PORT(p, wvalid) && port.writes.empty()) violations[WDATA]++;
  }

  void move(int p) {
    Port& port = ports[p];
    if (PORT(p, arvalid) && PORT(p, arready)) {
      uint32_t address = PORT(p, araddr), bytes = 8u * (PORT(p, arlen) + 1);
      if ((address & 4095) + bytes > 4096) violations[PAGE]++;
      if (PORT(p, arlen) > 15 || (address & 7)) violations[LENGTH]++;
      port.reads.push_back({address, (uint16_t)(bytes / 8), ready_at(address, bytes)});
      if (port.reads.size() > longest_queue) longest_queue = port.reads.size();
    }
    if (port.offered && PORT(p, rready)) {
      read_beats++;
      port.offered = false;
      if (++port.beat == port.reads.front().beats) {
        port.beat = 0;
        port.reads.pop_front();
        port.idle_until = cycle + 1 + timing.gap;
      }
    }
    // The data before the address: a beat of this cycle belongs to an earlier burst.
    if (PORT(p, wvalid) && PORT(p, wready)) {
      Write& write = port.writes.front();
      uint64_t word = PORT(p, wdata);
      write_beats++;
      bool ours = inside(write.address, 8);
      if (ours) memcpy(memory + (write.address - base), &word, 8);
      else port.failed = true;
      write.address += 8;
      bool last = --write.beats == 0;
      if (last != (bool)PORT(p, wlast)) violations[WLAST]++;
      if (last) {
        port.answers.push_back({cycle + timing.write_latency, (uint8_t)(port.failed ? 3 : 0)});
        port.failed = false;
        port.writes.pop_front();
      }
    }
    if (PORT(p, awvalid) && PORT(p, awready)) {
      uint32_t address = PORT(p, awaddr), beats = PORT(p, awlen) + 1u;
      if ((address & 4095) + 8 * beats > 4096) violations[PAGE]++;
      port.writes.push_back({address, (uint16_t)beats});
    }
    if (port.answer_offered && PORT(p, bready)) {
      port.answers.pop_front();
      port.answer_offered = false;
    }
  }

  void tick() {
    for (int p = 0; p < 2; p++) offer(p);
    core.aclk = 0;
    core.eval();
    for (int p = 0; p < 2; p++) {
      check(p);
      move(p);
    }
    core.aclk = 1;
    core.eval();
    cycle++;
  }

  void power_on() {
    core.s_axi_awvalid = core.s_axi_wvalid = core.s_axi_arvalid = 0;
    core.s_axi_bready = core.s_axi_rready = 1;
    core.aresetn = 0;
    for (int i = 0; i < 8; i++) tick();
    core.aresetn = 1;
    for (int i = 0; i < 4; i++) tick();
    for (uint64_t& count : violations) count = 0;
  }

  void settle() {  // combinational answers to what was just set, with the clock low
    core.aclk = 0;
    core.eval();
  }

  // Both leave the bus idle. A core that does not answer within 64 cycles is broken: -1. A START waits
  // for a batch to end.
  int64_t read(uint32_t offset) {
    core.s_axi_araddr = offset;
    core.s_axi_arvalid = 1;
    bool asked = false;
    for (int i = 0; i < 64; i++) {
      settle();
      bool accepted = core.s_axi_arvalid && core.s_axi_arready, answered = core.s_axi_rvalid;
      uint32_t word = core.s_axi_rdata;
      tick();
      if (accepted) core.s_axi_arvalid = 0, asked = true;
      if (asked && answered) return word;
    }
    return -1;
  }
  int write(uint32_t offset, uint32_t word) {
    core.s_axi_awaddr = offset;
    core.s_axi_wdata = word;
    core.s_axi_wstrb = 15;
    core.s_axi_awvalid = core.s_axi_wvalid = 1;
    int waited = 0;
    for (int i = 0; i < 64 && waited < LONGEST_BATCH; waited++) {
      settle();
      bool accepted = core.s_axi_awvalid && core.s_axi_awready, answered = core.s_axi_bvalid;
      int response = core.s_axi_bresp;
      tick();
      if (accepted) core.s_axi_awvalid = core.s_axi_wvalid = 0;
      if (answered) return response;
      if (!core.s_axi_awvalid) i++;
    }
    core.s_axi_awvalid = core.s_axi_wvalid = 0;
    return -1;
  }
};

}  // namespace

extern "C" {
Board* board_new(uint8_t* memory, uint64_t size, uint32_t base, const Timing* timing) {
  Board* board = new Board;
  board->memory = memory, board->size = size, board->base = base;
  board->timing = *timing, board->random = timing->seed | 1;
  board->power_on();
  return board;
}
void board_free(Board* board) { delete board; }
void board_timing(Board* board, const Timing* timing) {
  board->timing = *timing;
  board->random = timing->seed | 1;
}
int64_t board_read(Board* board, uint32_t offset) { return board->read(offset); }
int board_write(Board* board, uint32_t offset, uint32_t word) { return board->write(offset, word); }
void board_run(Board* board, uint64_t cycles) { while (cycles--) board->tick(); }
int board_irq(Board* board) { return board->core.irq; }
uint64_t board_cycle(Board* board) { return board->cycle; }
uint64_t board_count(Board* board, int which) {
  const uint64_t counts[] = {board->violations[PAGE],   board->violations[UNSTABLE],
                             board->violations[WLAST],  board->violations[WDATA],
                             board->violations[LENGTH], board->longest_queue,
                             board->read_beats,         board->write_beats,
                             board->ports[0].open_writes() + board->ports[1].open_writes()};
  return counts[which];
}
}
