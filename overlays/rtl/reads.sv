// The read side of one AXI master. Four sources ask for bursts, earlier stages first: they run ahead
// only as far as their queues reach. All bursts bear one id, so data come back in order, and a queue
// of sources tells whose they are.
`default_nettype none
module reads #(
  parameter int OUTSTANDING_LOG2 = 4
) (
  input  wire             clk,
  input  wire             rst,
  input  wire             halt,     // issue nothing more, throw away what comes
  output wire             quiet,
  output wire             outside,
  output logic            failed,
  // requests: targets, degrees, edges, rows
  input  wire  [3:0]      request,
  input  wire  [3:0][32:0] address,
  input  wire  [3:0][3:0] beats,    // less one
  input  wire  [3:0]      set,
  input  wire  [1:0][31:0] base,
  input  wire  [1:0][31:0] limit,
  output wire  [3:0]      grant,
  // data: the first three sources have kept room, the rows say when they are ready
  output wire  [3:0]      arrives,
  output wire  [63:0]     data,
  input  wire             rows_ready,
  // AXI
  output logic [31:0]     araddr,
  output logic [3:0]      arlen,
  output logic            arvalid,
  input  wire             arready,
  input  wire  [63:0]     rdata,
  input  wire             rerror,
  input  wire             rlast,
  input  wire             rvalid,
  output wire             rready
);
  wire ready, queued, bounds_ready;
  logic row_next;  // edges and rows take turns: of hashed edges, a run of short reads is a gap later
  always_ff @(posedge clk)
    if (rst) row_next <= 0;
    else if (|grant) row_next <= grant[2];
  assign grant = !ready ? 4'b0
               : request[0] ? 4'b0001
               : request[1] ? 4'b0010
               : request[2] && !(request[3] && row_next) ? 4'b0100 : {request[3], 3'b000};
  wire [1:0] source = grant[0] ? 2'd0 : grant[1] ? 2'd1 : grant[2] ? 2'd2 : 2'd3;

  wire checked, issue;
  wire [31:0] checked_address;
  wire [3:0] checked_beats;
  wire [1:0] checked_source;
  // A short queue keeps the grants off whether the bus is ready.
  wire [2:0] queue_count;
  wire queued_set;
  wire [1:0] queued_source;
  wire [3:0] queued_beats;
  wire [32:0] queued_address;
  assign ready = !queue_count[2];
  fifo #(.WIDTH(40), .LOG2(2)) granted (
    .clk, .rst, .push(|grant), .in({set[source], source, beats[source], address[source]}),
    .pop(queued && bounds_ready), .out({queued_set, queued_source, queued_beats, queued_address}),
    .valid(queued), .count(queue_count)
  );
  bounded #(.TAG(2)) bounds (
    .clk, .rst, .base(base[queued_set]), .limit(limit[queued_set]), .in_valid(queued),
    .in_ready(bounds_ready), .in_address(queued_address), .in_beats(queued_beats),
    .in_tag(queued_source), .out_valid(checked), .out_ready(issue), .out_address(checked_address),
    .out_beats(checked_beats), .out_tag(checked_source), .outside
  );

  wire flying, arrived, over;
  wire answered = rvalid && rready && rlast;
  // The source of the next beat, in a register: much hangs on it.
  logic awaited, row;
  logic [1:0] whose;
  wire [1:0] next_source;
  wire next_awaited = flying && (!awaited || over);
  logic [OUTSTANDING_LOG2:0] in_flight;
  wire [OUTSTANDING_LOG2+1:0] unused_count;
  assign issue = checked && (!arvalid || arready) && !halt
               && (!in_flight[OUTSTANDING_LOG2] || answered);
  // Deeper than the reads in flight by those whose data wait in the short queue below.
  fifo #(.WIDTH(2), .LOG2(OUTSTANDING_LOG2 + 1)) sources (
    .clk, .rst, .push(issue), .in(checked_source), .pop(next_awaited), .out(next_source),
    .valid(flying),
    .count(unused_count)
  );

  always_ff @(posedge clk)
    if (rst) begin
      arvalid   <= 0;
      in_flight <= 0;
    end else begin
      if (!arvalid || arready) arvalid <= issue;
      if (issue && !answered) in_flight <= in_flight + 1'b1;
      if (answered && !issue) in_flight <= in_flight - 1'b1;
    end
  always_ff @(posedge clk)
    if (issue) begin
      araddr <= checked_address;
      arlen  <= checked_beats;
    end

  always_ff @(posedge clk) begin
    awaited <= !rst && (next_awaited || (awaited && !over));
    if (next_awaited) begin
      whose <= next_source;
      row   <= next_source == 2'd3;
    end
  end

  // A short queue between the bus and us keeps rready off what the accumulator thinks.
  wire [2:0] waiting;
  wire take, last;
  fifo #(.WIDTH(65), .LOG2(2)) arrivals (
    .clk, .rst, .push(rvalid && rready), .in({rlast, rdata}), .pop(take), .out({last, data}),
    .valid(arrived), .count(waiting)
  );
  assign rready  = !waiting[2];
  assign take    = arrived && awaited && (halt || !row || rows_ready);
  assign over    = take && last;
  assign arrives = (arrived && awaited && !halt) ? 4'b0001 << whose : 4'b0;
  assign quiet   = !arvalid && !flying && !awaited;

  always_ff @(posedge clk)
    if (rst) failed <= 0;
    else if (rvalid && rready && rerror) failed <= 1;
endmodule
`default_nettype wire
