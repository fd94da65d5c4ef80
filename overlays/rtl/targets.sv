// Fetches the node numbers of each batch, two a beat. Of several lanes each reads the whole list and
// takes its own half of every beat. Asking and handing out each walk through the batches by
// themselves, so that the list of the next batch is fetched while this one's is used up.
`default_nettype none
module targets #(
  parameter int PORTS = 1,
  parameter int LANE = 0
) (
  input  wire              clk,
  input  wire              rst,
  input  wire              launch,   // one more batch waits
  input  wire  [1:0][31:0] list,
  input  wire  [1:0][15:0] count,    // targets of this lane
  output wire              request,
  output wire  [32:0]      address,
  output wire  [3:0]       beats,
  output logic             set,
  input  wire              grant,
  input  wire              arrives,
  input  wire  [63:0]      data,
  output wire              out_valid,
  output wire  [31:0]      out_target,
  output logic             out_set,
  input  wire              out_take
);
  // ---- asking: bursts end at multiples of 64 bytes, so that none crosses a page
  typedef enum logic [1:0] {NEXT, CUT, ASK} state_t;
  state_t state;
  logic [1:0] waiting;
  logic [28:0] pointer;
  logic [15:0] left;
  logic [3:0] burst;
  logic [4:0] room;  // beats of the queue that nobody was promised
  wire [3:0] reach = 4'd8 - {1'b0, pointer[2:0]};
  wire next = state == NEXT && waiting != 0;
  // Selects in two steps: Icarus takes no bits of an element whose index varies.
  wire [31:0] next_list  = list[!set];
  wire [15:0] next_count = count[!set];
  wire pop;
  logic released;  // a beat of the queue is free again
  assign request = state == ASK && room >= 8;
  assign address = {1'b0, pointer, 3'b0};
  assign beats   = burst - 4'd1;

  always_ff @(posedge clk)
    if (rst) begin
      state <= NEXT;
      waiting <= 0;
      set <= 1;
      room <= 16;
      released <= 0;
    end else begin
      released <= pop;
      waiting <= waiting + {1'b0, launch} - {1'b0, next};
      room <= room + {4'd0, released} - (grant ? {1'b0, burst} : 5'd0);
      case (state)
        NEXT: if (next) begin
          set   <= !set;
          state <= next_count == 0 ? NEXT : CUT;
        end
        CUT:  state <= ASK;
        default: if (grant) state <= left == {12'd0, burst} ? NEXT : CUT;
      endcase
    end
  always_ff @(posedge clk) begin
    if (next) begin
      pointer <= next_list[31:3];
      left <= PORTS == 2 ? next_count : {1'b0, next_count[15:1]} + {15'd0, next_count[0]};
    end
    if (state == CUT) burst <= {12'd0, reach} > left ? left[3:0] : reach;
    if (grant) begin
      pointer <= pointer + {25'd0, burst};
      left <= left - {12'd0, burst};
    end
  end

  // ---- handing out
  wire held;
  wire [63:0] pair;
  wire [4:0] unused_count;
  fifo #(.WIDTH(64), .LOG2(4)) pairs (
    .clk, .rst, .push(arrives), .in(data), .pop, .out(pair), .valid(held), .count(unused_count)
  );
  logic [1:0] out_waiting;
  logic [15:0] out_left;
  logic half;
  wire out_next = out_left == 0 && out_waiting != 0;
  assign out_valid = held && out_left != 0;
  assign out_target = (PORTS == 2 ? LANE == 1 : half) ? pair[63:32] : pair[31:0];
  assign pop = out_take && (PORTS == 2 || half || out_left == 1);
  always_ff @(posedge clk)
    if (rst) begin
      out_waiting <= 0;
      out_left <= 0;
      out_set <= 1;
      half <= 0;
    end else begin
      out_waiting <= out_waiting + {1'b0, launch} - {1'b0, out_next};
      if (out_next) begin
        out_set <= !out_set;
        out_left <= count[!out_set];
        half <= 0;
      end
      if (out_take) begin
        out_left <= out_left - 1'b1;
        half <= !half;
      end
    end
endmodule
`default_nettype wire
